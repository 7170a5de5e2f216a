"""The JSON Schema that we ship, in the hands of an independent validator: every pipeline that we ship is valid, and
each of a few faults is found. And the shipped file is what `gridquant schema` prints.

usage: schema.py GRIDQUANT PIPELINES_FOLDER
"""

import copy
import json
import pathlib
import re
import subprocess
import sys

import jsonschema
import yaml

# What is changed in a good pipeline, and how: each must be found.
FAULTS = {
    "unknown top-level key": lambda p: p.update(surprise=1),
    "wrong kind": lambda p: p.update(kind="Pipelines"),
    "stages missing": lambda p: p["spec"].pop("stages"),
    "unknown stage key": lambda p: next(iter(p["spec"]["stages"].values())).update(uzes="x"),
    "unknown stage type": lambda p: next(iter(p["spec"]["stages"].values())).update(uses="quantise"),
    "stage without uses": lambda p: next(iter(p["spec"]["stages"].values())).pop("uses"),
}


class Yaml12(yaml.SafeLoader):
    """PyYAML follows YAML 1.1, where the key `on` is a boolean; in YAML 1.2 only true and false are."""


Yaml12.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Yaml12.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(true|false)$"), list("tf"))


def main():
    binary, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    shipped = (folder / "pipeline.schema.json").read_text(encoding="utf-8")
    printed = subprocess.run([binary, "schema"], check=True, capture_output=True, text=True).stdout
    bad = 0
    if shipped.strip() != printed.strip():
        bad += 1
        print("FAIL pipeline.schema.json is not what `gridquant schema` prints")
    schema = json.loads(printed)
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)
    documents = {path: yaml.load(path.read_text(encoding="utf-8"), Loader=Yaml12) for path in folder.glob("*.yaml")}
    pipelines = {path: document for path, document in documents.items() if document["kind"] == "Pipeline"}
    for path, pipeline in sorted(pipelines.items()):
        errors = [error.message for error in validator.iter_errors(pipeline)]
        bad += bool(errors)
        print(f"{'FAIL' if errors else 'ok  '} {path.name} {errors[:3] if errors else ''}")
        for name, change in FAULTS.items():
            broken = copy.deepcopy(pipeline)
            change(broken)
            if validator.is_valid(broken):
                bad += 1
                print(f"FAIL {path.name}: {name} is not found")
    print(f"{len(pipelines)} pipelines, {len(FAULTS)} faults each, {bad} failures")
    return 1 if bad or not pipelines else 0


if __name__ == "__main__":
    sys.exit(main())
