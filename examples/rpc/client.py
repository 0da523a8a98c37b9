# Calls over one channel as long as a file exists. Prints how many calls were answered, by which versions, and how many failed.
import collections
import json
import os
import sys
import time

import grpc

RETRY = {"maxAttempts": 5, "initialBackoff": "0.05s", "maxBackoff": "1s", "backoffMultiplier": 2}
RETRY["retryableStatusCodes"] = ["UNAVAILABLE", "CANCELLED"]  # the server ended before it began the call

config = json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": RETRY}]})
channel = grpc.insecure_channel("127.0.0.1:50051", options=[("grpc.service_config", config)])
call = channel.unary_unary("/example.Example/Version")

versions, failed = collections.Counter(), 0
while os.path.exists(sys.argv[1]):
    try:
        versions[call(b"", timeout=30, wait_for_ready=True).decode()] += 1
    except grpc.RpcError as error:
        print(error.code(), error.details(), file=sys.stderr)
        failed += 1
    time.sleep(0.01)
print(sum(versions.values()), "answered;", "versions:", " ".join(sorted(versions)) + ";", failed, "failed")
