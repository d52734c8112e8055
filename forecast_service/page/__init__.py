"""The planners' pages: HTML from the same functions that the API's endpoints call.

No page reads the database by itself, and none keeps anything on the server: what a page shows is in
its address.
"""
