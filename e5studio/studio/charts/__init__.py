"""Figures that several tabs draw."""
