"""Alembic's migrations; store/upgrade runs them when a store is opened."""
