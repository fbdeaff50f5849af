# SPDX-License-Identifier: Apache-2.0
"""The commands beside a run: two runs, two builds, thread scaling, the peers' environment."""
