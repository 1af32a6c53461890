"""Tests against the packages of other projects, each in an environment of its own."""
