"""What spark-submit starts, on EMR and on one machine: the job of the package."""

from lens_assets.cluster.job import main

if __name__ == "__main__":
    raise SystemExit(main())
