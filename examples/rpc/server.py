# Answers calls with its version; on SIGUSR2 sends GOAWAY, answers the calls that it has, and ends.
import concurrent.futures
import os
import signal

import grpc


def version(request, context):
    return os.environ["VERSION"].encode()


calls = {"Version": grpc.unary_unary_rpc_method_handler(version)}
server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=8))
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("example.Example", calls)])
server.add_insecure_port("unix:" + os.environ["CONDUCTOR_SOCKET"])
signal.signal(signal.SIGUSR2, lambda *_: server.stop(30))
server.start()
server.wait_for_termination()
