"""Provider endpoints with faults, in the vendors' own wire shapes: for the demo and the tests.

faults.py       what can be broken, with which options
provider.py     one simulated provider: its fault, its counters, its seeded luck
answers.py      what a healthy model says, and what a wrong one says
wire.py         what every dialect has in common; exchange.py runs one request through it
bedrock.py vertex.py llama.py openai.py   the dialects; vertex_grpc.py the second transport of Vertex
listener.py     a port that can refuse connections and come back
control.py      faults and counters over HTTP
server.py       `Simulator`, the whole of it in one process; `python -m simulator` runs it alone
"""
