"""Finds and repairs what crashes leave behind."""
