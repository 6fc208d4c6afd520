"""The tables of the store. Those that hold the rows of parts as they are, are made from the schemas of the parts."""

from __future__ import annotations

import duckdb

from engine.storage.tables import SCHEMAS

FILE = "winnow-7.duckdb"
"""The number changes with the tables: a file of another version is left alone and made anew."""

PLAIN = ("metrics", "states")
"""Tables whose rows are in the parts once, and in the store as they are there."""

NUMBERED = ("grid", "distilled", "distilled_tokens", "evaluation")
"""Tables whose rows have the number of their part in a first column `part`: of repeated rows the last part's count."""

TABLES = """
CREATE SEQUENCE ids;
CREATE TABLE parts (run VARCHAR, tbl VARCHAR, name VARCHAR, sha256 VARCHAR);
CREATE TABLE datasets (id INTEGER, name VARCHAR);
CREATE TABLE run_datasets (run VARCHAR, dataset INTEGER);
CREATE TABLE samples (
    dataset INTEGER, "row" INTEGER, content_id VARCHAR USING COMPRESSION uncompressed, split VARCHAR,
    instruction VARCHAR USING COMPRESSION uncompressed, "input" VARCHAR USING COMPRESSION uncompressed,
    response VARCHAR USING COMPRESSION uncompressed, system VARCHAR USING COMPRESSION uncompressed,
    turns STRUCT(speaker VARCHAR, "text" VARCHAR)[], fields MAP(VARCHAR, VARCHAR),
    length INTEGER, response_length INTEGER, truncated BOOLEAN,
    image BLOB USING COMPRESSION uncompressed, label VARCHAR);
CREATE INDEX samples_row ON samples ("row");
CREATE TABLE facets (dataset INTEGER, field VARCHAR, "value" VARCHAR, "row" INTEGER);
CREATE TABLE facet_values (dataset INTEGER, field VARCHAR, "value" VARCHAR);
CREATE TABLE scorings (
    id INTEGER, run VARCHAR, arm VARCHAR, seed INTEGER, epoch INTEGER, metric VARCHAR, samples INTEGER,
    ingests INTEGER);
CREATE TABLE scores (scoring INTEGER, "row" INTEGER, "value" FLOAT);
CREATE TABLE choices (id INTEGER, run VARCHAR, arm VARCHAR, seed INTEGER, epoch INTEGER, tau DOUBLE);
CREATE TABLE selections (choice INTEGER, "row" INTEGER, kept BOOLEAN);
CREATE TABLE token_parts (id INTEGER, run VARCHAR, name VARCHAR);
CREATE TABLE token_rows (part INTEGER, epoch INTEGER, "row" INTEGER, row_group INTEGER);
"""
# Text is stored as it is, as are pictures (a PNG is compressed already), and rows have an index: three times the disk,
# but a search is three times as fast and the texts of a page are read without looking at a million rows.


def make_tables(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(TABLES)
    for table in (*PLAIN, *NUMBERED):
        part = "0::INTEGER AS part, " if table in NUMBERED else ""
        connection.register("schema", SCHEMAS[table].empty_table())
        connection.execute(f"CREATE TABLE {table} AS SELECT {part}* FROM schema")
        connection.unregister("schema")
