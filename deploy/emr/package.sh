#!/bin/sh
# Packs what the nodes of a cluster need of this tree, SQL models included. Argument: the archive to write.
set -eu

target="${1:?the archive to write, e.g. dist/lens-assets.tar.gz}"
cd "$(dirname "$0")/../.."
mkdir -p "$(dirname "$target")"
tar --exclude='__pycache__' -czf "$target" \
    lens_assets dbt_like_sql deploy/campaigns pyproject.toml constraints.txt README.md LICENSE
