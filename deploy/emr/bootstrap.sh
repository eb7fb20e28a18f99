#!/bin/sh
# Runs on every node of the cluster before Spark starts: the package and its pinned versions in a Python of their own.
# Arguments: the s3:// prefix that holds lens-assets.tar.gz, and the region of its bucket.
set -eu

code_uri="${1:?the s3:// prefix of the code}"
region="${2:?the AWS region of that bucket}"
home=/opt/lens-assets
python=python3.11

command -v "$python" >/dev/null 2>&1 || sudo dnf install --assumeyes --quiet python3.11
sudo mkdir -p "$home"
sudo chown "$(id -u):$(id -g)" "$home"
"$python" -m venv "$home"
aws s3 cp --region "$region" "$code_uri/lens-assets.tar.gz" "$home/lens-assets.tar.gz"
mkdir -p "$home/source"
tar -xzf "$home/lens-assets.tar.gz" -C "$home/source"
# Spark's own pyspark is used: it must be that of the cluster's JVM.
"$home/bin/python" -m pip install --quiet --disable-pip-version-check \
    --constraint "$home/source/constraints.txt" --editable "$home/source"
