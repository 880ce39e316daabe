"""What run.sh made is known to schemathesis: half of the parameters are drawn from it."""

import json
import os
import uuid

import schemathesis
from hypothesis import strategies as st

KNOWN = json.loads(os.environ["FUZZ_KNOWN"])
OWN_TOKEN = os.environ["FUZZ_OWN_TOKEN"]


def with_known(parameters):
    """A strategy: each parameter as it is, or one of the known values of its name."""
    return st.fixed_dictionaries(
        {
            name: st.one_of(st.sampled_from(KNOWN[name]), st.just(value)) if name in KNOWN else st.just(value)
            for name, value in parameters.items()
        }
    )


def keeps(context):
    """Whether the call leaves the known app or pipeline in being."""
    operation = context.operation
    return operation.method.upper() != "DELETE" or not operation.path.endswith(("{app}", "{pipeline}"))


@schemathesis.hook
def flatmap_path_parameters(context, path_parameters):
    return with_known(path_parameters) if path_parameters and keeps(context) else st.just(path_parameters)


@schemathesis.hook
def flatmap_query(context, query):
    return with_known(query) if query else st.just(query)


@schemathesis.hook
def before_call(context, case, kwargs):
    """The token with which everything is called is neither ended nor replaced."""
    path = case.path_parameters or {}
    if path.get("authorization") == OWN_TOKEN and case.method.upper() in ("DELETE", "POST"):
        path["authorization"] = str(uuid.uuid4())
