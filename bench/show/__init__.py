# SPDX-License-Identifier: Apache-2.0
"""What a run shows: targets, tables, sentences, charts, the report."""
