"""Applies a change stream with the public driver: the events of a database from a time on, as unordered bulk writes of up to
1,000 operations on documents that differ, until a marker comes.

    follow.py SOURCE TARGET DATABASE SECONDS
"""

import sys
from collections import defaultdict

from bson.timestamp import Timestamp
from pymongo import DeleteOne, InsertOne, MongoClient, ReplaceOne, UpdateOne


def operation(event):
    kind, key = event["operationType"], event.get("documentKey")
    if kind == "insert":
        return InsertOne(event["fullDocument"])
    if kind == "replace":
        return ReplaceOne(key, event["fullDocument"], upsert=True)
    if kind == "delete":
        return DeleteOne(key)
    changed = event["updateDescription"]
    update = {"$set": changed["updatedFields"], "$unset": dict.fromkeys(changed["removedFields"], "")}
    return UpdateOne(key, {name: fields for name, fields in update.items() if fields})


def main():
    source, target, database, seconds = sys.argv[1:]
    into = MongoClient(target)[database]
    start = Timestamp(int(seconds), 0)
    waiting, keys = defaultdict(list), set()

    def write():
        for collection, operations in waiting.items():
            into[collection].bulk_write(operations, ordered=False)
        waiting.clear()
        keys.clear()

    with MongoClient(source)[database].watch(start_at_operation_time=start, batch_size=1000) as stream:
        for event in stream:
            collection = event["ns"]["coll"]
            if collection == "marker":
                return write()
            key = (collection, event["documentKey"]["_id"])
            if len(keys) == 1000 or key in keys:
                write()
            waiting[collection].append(operation(event))
            keys.add(key)


main()
