"""The Spark path: from sweep files to the sample of every design, on a cluster or by spark-submit on one machine."""
