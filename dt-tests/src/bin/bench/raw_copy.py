"""Copies the collections of a database from one MongoDB server to another, in so many processes: documents are taken
from the answers as bytes and never decoded.

    raw_copy.py SOURCE TARGET DATABASE PROCESSES [transactions]

With `transactions` each batch is written in one: what that costs the server, whoever the client is.
"""

import sys
from contextlib import nullcontext
from multiprocessing import Process

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

DOCUMENTS = 10_000
RAW = CodecOptions(document_class=RawBSONDocument)


def documents(answer):
    at = 0
    while at < len(answer):
        end = at + int.from_bytes(answer[at : at + 4], "little")
        yield RawBSONDocument(answer[at:end])
        at = end


def copy(urls, database, parts, transactions):
    clients = [MongoClient(url) for url in urls]
    source, target = (client[database] for client in clients)
    session = clients[1].start_session() if transactions else None
    for name, bounds in parts:
        into = target.get_collection(name, codec_options=RAW)
        for answer in source[name].find_raw_batches({"_id": bounds} if bounds else {}, batch_size=DOCUMENTS):
            with session.start_transaction() if session else nullcontext():
                into.insert_many(documents(answer), ordered=False, session=session)


def main():
    source_url, target_url, database, processes, *options = sys.argv[1:]
    urls, processes, transactions = [source_url, target_url], int(processes), options == ["transactions"]
    source = MongoClient(urls[0])[database]
    names = sorted(source.list_collection_names())
    shares = [[] for _ in range(processes)]
    for at, name in enumerate(names):
        if len(names) >= processes:
            shares[at % processes].append((name, {}))
            continue
        # A collection for several processes: cut by its keys.
        count = source[name].estimated_document_count()
        cuts = [
            next(source[name].find({}, {"_id": 1}).sort("_id", 1).skip(count * cut // processes).limit(1))["_id"]
            for cut in range(1, processes)
        ]
        for share, low, high in zip(shares, [None, *cuts], [*cuts, None]):
            bounds = ({"$gte": low} if low is not None else {}) | ({"$lt": high} if high is not None else {})
            share.append((name, bounds))
    running = [Process(target=copy, args=(urls, database, parts, transactions)) for parts in shares]
    for process in running:
        process.start()
    for process in running:
        process.join()
    sys.exit(max(process.exitcode for process in running))


main()
