"""Bytes under names: the places where a store can live."""
