"""The methods that ship with wellposed: plugins like any other, found by entry points."""
