"""Transfers by libcurl: routes, handles, what is seen of them, and what errors mean."""
