"""Files sent and fetched, and taken up again where a connection broke.

    python -m examples.files server --folder shared
    python -m examples.files client connection put report.pdf
    python -m examples.files client connection get report.pdf --into downloads

messages.py   what the two sides say to each other
folder.py     files under names that a stranger chose, and files that are not all here yet
transfer.py   one file over one stream: the sending side, and the keeping one
server.py     the handler
client.py     put and get, again where the connection failed
__main__.py   the command line, and a bar
"""
