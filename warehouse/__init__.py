"""PostgreSQL only: migrations, reads by partition, and replaces of whole partitions."""
