"""What no ready-made tool knows of deploy/: check.py NAME [FILE...].

Each check prints what is wrong, a line each, and exits with 1; it is silent where all is well.
"""

import json
import re
import sys
import tomllib
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DEPLOY = ROOT / "deploy"
FILES = [path for path in DEPLOY.rglob("*") if path.is_file()]
COMPOSE = sorted((DEPLOY / "compose").glob("*.yaml"))
SUFFIXES = ("_bucket", "_sum", "_count")

mistakes = []


def wrong(where, what):
    """Notes a mistake."""
    where = where.relative_to(ROOT) if isinstance(where, Path) else where
    mistakes.append(f"{where}: {what}")


def source():
    """Returns the text of the Rust source."""
    return "\n".join(path.read_text() for path in sorted((ROOT / "src").rglob("*.rs")))


def planned(name):
    """Returns the lines of a list of what the source does not have yet."""
    lines = (HERE / name).read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def known_metrics():
    """Returns the metrics of the source."""
    text = source()
    names = set(re.findall(r'"(quire_[a-z_]+)"', text))
    # The log makes its counters' names from a pattern and a list.
    for prefix, suffix in re.findall(r'format!\("(quire_[a-z]+_)\{name\}(_total)"\)', text):
        names |= {prefix + name + suffix for name in re.findall(r'counter\("([a-z_]+)", "', text)}
    return names


def metrics():
    """Every metric that is named anywhere is one of the source or of the list."""
    known, later = known_metrics(), planned("metrics-planned.txt")
    named = {}
    for path in [DEPLOY / "prometheus/alerts.yml", *DEPLOY.glob("grafana/dashboards/*.json")]:
        for name in re.findall(r"quire_[a-z_]+", path.read_text()):
            named.setdefault(name, path)
    for name, path in sorted(named.items()):
        bases = {name, *(name.removesuffix(suffix) for suffix in SUFFIXES)}
        if not bases & (known | set(later)):
            wrong(path, f"{name} is no metric of the source")
    for name in later:
        if name in known:
            wrong("metrics-planned.txt", f"the source has {name} now: remove the line")
        if name not in named:
            wrong("metrics-planned.txt", f"{name} is in no alert and no panel")


def toml_keys(text):
    """Returns the keys of a template of the configuration, with their sections."""
    section, keys = "", set()
    for line in text.splitlines():
        if match := re.fullmatch(r" *\[([a-z]+)\]", line):
            section = match[1] + "."
        elif match := re.match(r" *([a-z-]+) = ", line):
            keys.add(section + match[1])
    return keys


def options():
    """Every option, flag and command that is used is one of the source or of the list."""
    later = planned("options-planned.txt")
    table = (ROOT / "src/config/options.rs").read_text()
    keys = set(re.findall(r'opt\("([a-z.-]+)"', table))
    settings = (ROOT / "src/cli/settings.rs").read_text()
    fields = re.findall(r"(?m)^    (?:pub\(crate\) )?([a-z_]+): ", settings)
    flags = {"--" + field.replace("_", "-") for field in fields} | {"--set", "--url"}
    commands = {path.stem for path in (ROOT / "src/cli").iterdir()}
    verbs = (ROOT / "src/cli/operate/args.rs").read_text()
    commands |= {name.lower() for name in re.findall(r"(?m)^    ([A-Z][a-z]+) {$", verbs)}
    has = {f"option {key}" for key in keys} | {f"flag {flag}" for flag in flags}
    has |= {f"command {command}" for command in commands}
    used = {}
    for path in FILES:
        if path.suffix == ".json":
            continue
        content = path.read_text()
        for key in re.findall(r"--set=([a-z.-]+)=", content):
            used[f"option {key}"] = path
        for variable in re.findall(r"QUIRE_[A-Z_]+(?==|:| *$)", content, re.M):
            key = variable.removeprefix("QUIRE_").replace("__", ".").replace("_", "-").lower()
            # These name the configuration's file, and what the proxy reads.
            if key not in ("config", "site", "nodes"):
                used[f"option {key}"] = path
        for flag in re.findall(r"(?<=[\s=\"`])(--[a-z-]+-listen|--node|--data|--listen|--adopt-log)\b", content):
            used[f"flag {flag}"] = path
        for key in toml_keys(content) if path.name == "configmap.yaml" else []:
            used[f"option {key}"] = path
        for command in re.findall(r"`?\bquire ((?!is\b|on\b)[a-z]+)(?: [A-Zv\"$-]|`)", content):
            used[f"command {command}"] = path
    for path in COMPOSE:
        for name, service in yaml.safe_load(path.read_text())["services"].items():
            for argument in service.get("command", []) if name.startswith("quire") else []:
                if argument.startswith("--"):
                    used[f"flag {argument.split('=')[0]}"] = path
    for thing, path in sorted(used.items()):
        if thing not in has and thing not in later:
            wrong(path, f"there is no {thing}")
    for thing in later:
        if thing in has:
            wrong("options-planned.txt", f"the source has it now, remove the line: {thing}")
        if thing not in used:
            wrong("options-planned.txt", f"nothing uses it: {thing}")


def panels():
    """The dashboard is complete and drawn without overlaps; prints its queries as recording rules."""
    path = DEPLOY / "grafana/dashboards/quire.json"
    board = json.loads(path.read_text())
    drawn = [panel for panel in board["panels"] if panel["type"] != "row"]
    ids = [panel["id"] for panel in board["panels"]]
    if len(ids) != len(set(ids)):
        wrong(path, "two panels have one id")
    boxes = [(panel["title"], panel["gridPos"]) for panel in board["panels"]]
    for index, (title, a) in enumerate(boxes):
        if a["x"] + a["w"] > 24:
            wrong(path, f"{title} is wider than the page")
        for other, b in boxes[:index]:
            apart_x = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
            apart_y = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
            if not (apart_x or apart_y):
                wrong(path, f"{title} lies over {other}")
    text = json.dumps([panel["targets"] for panel in drawn])
    for name in """quire_doc_ack_seconds quire_doc_accepted_total quire_edge_sessions quire_doc_open
            quire_shard_owned quire_cluster_moves_total quire_cluster_failovers_total
            quire_shard_reclaims_total quire_shard_void_total quire_shard_tail_bytes
            quire_doc_checkpoints_total quire_relay_bytes_total
            quire_cluster_control_lag_records""".split():
        if name not in text:
            wrong(path, f"no panel shows {name}")
    for quantile in ("histogram_quantile(0.5", "histogram_quantile(0.99"):
        if quantile not in text:
            wrong(path, f"no panel shows a {quantile}")
    rules = []
    for panel in drawn:
        for target in panel["targets"]:
            query = target["expr"].replace("$__rate_interval", "1m")
            query = query.replace("$cluster", ".*").replace("$node", ".*")
            rules.append({"record": f"panel:{panel['id']}:{target['refId']}", "expr": query})
            if target["datasource"] != {"type": "prometheus", "uid": "${datasource}"}:
                wrong(path, f"{panel['title']} has a data source of its own")
    print(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))


def alerts():
    """Each alert says what is wrong and what to do, and one of two degrees; each is tested."""
    path = DEPLOY / "prometheus/alerts.yml"
    tested = (HERE / "alerts_test.yml").read_text()
    for group in yaml.safe_load(path.read_text())["groups"]:
        for rule in group["rules"]:
            name, notes = rule["alert"], rule.get("annotations", {})
            if rule.get("labels", {}).get("severity") not in ("critical", "warning"):
                wrong(path, f"{name} is neither critical nor a warning")
            if not notes.get("summary") or len(notes.get("description", "")) < 80:
                wrong(path, f"{name} does not say what to do")
            if f'"{name}"' not in tested:
                wrong(path, f"{name} is not in alerts_test.yml")
            if 'job="quire"' not in rule["expr"]:
                wrong(path, f"{name} looks at other jobs, too")


def compose():
    """Each service has a health check, a limit of memory and named volumes, and a pinned image."""
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    for path in COMPOSE:
        project = yaml.safe_load(path.read_text())
        volumes = set(project["volumes"])
        mounted = set()
        for name, service in project["services"].items():
            where = f"{path.name}: {name}"
            own = service["image"] == "quire" and "\nHEALTHCHECK " in dockerfile
            if not own and "healthcheck" not in service:
                wrong(where, "no health check")
            if service["image"] == "quire":
                grace = re.search(r"edge\.shutdown-grace=(\w+)", " ".join(service["command"]))
                grace = seconds(grace[1]) if grace else default_grace()
                if seconds(service["stop_grace_period"]) < longest(grace):
                    wrong(where, "it is killed while it drains")
            if "mem_limit" not in service:
                wrong(where, "no limit of memory")
            if service["image"] != "quire" and not re.search(r":v?\d+\.\d+", service["image"]):
                wrong(where, "the image has no version")
            for volume in service.get("volumes", []):
                left = volume.split(":")[0]
                if left.startswith("."):
                    if not (path.parent / left).exists():
                        wrong(where, f"{left} is not there")
                elif left in volumes:
                    mounted.add(left)
                else:
                    wrong(where, f"{left} is no named volume")
            for port in service.get("ports", []):
                if not port.startswith("127.0.0.1:"):
                    wrong(where, f"{port} is open to other machines")
            for other in service.get("depends_on", []):
                if other not in project["services"]:
                    wrong(where, f"waits for {other}, which is not there")
        for volume in volumes - mounted:
            wrong(path, f"nobody mounts the volume {volume}")
    cluster = yaml.safe_load((DEPLOY / "compose/cluster.yaml").read_text())["services"]
    for kind, number in (("kafka", 3), ("scylla", 3), ("quire", 3)):
        if sum(name.startswith(kind + "-") for name in cluster) != number:
            wrong("cluster.yaml", f"there are not {number} of {kind}")
    targets = (DEPLOY / "prometheus/prometheus.yml").read_text()
    for name in (name for name in cluster if name.startswith("quire-")):
        if f"{name}:8080" not in targets:
            wrong("prometheus.yml", f"{name} is not scraped")
        if cluster[name]["environment"]["QUIRE_NODE"] != name:
            wrong("cluster.yaml", f"{name} has another name for itself")


def image():
    """What the image is built from is there and gets into the build."""
    path = DEPLOY / "Dockerfile"
    text = path.read_text()
    kept = [line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"]
    copied = set()
    for arguments in re.findall(r"(?m)^COPY (.*)$", text):
        if "--from=" not in arguments:
            copied |= {word for word in arguments.split()[:-1] if not word.startswith("--")}
    for name in sorted(copied ^ set(kept)):
        wrong(path, f"{name} is copied but left out of the build, or the other way round")
    for name in copied:
        if not (ROOT / name).exists():
            wrong(path, f"{name} is not there")
    users = re.findall(r"(?m)^USER (.*)$", text)
    if users[-1:] != ["10001:10001"]:
        wrong(path, "it runs as root, or as a user without a number")
    health = re.search(r'(?m)^HEALTHCHECK .*CMD \["([a-z-]+)"', text)
    if not health or f"/usr/local/bin/{health[1]}" not in text:
        wrong(path, "the health check is no program of the image")
    if "://" in re.sub(r"(?m)^#.*", "", text):
        wrong(path, "it names a host")


def seconds(text):
    """Reads `30s` or `2m`."""
    return int(text[:-1]) * {"s": 1, "m": 60}[text[-1]]


def longest(grace):
    """Returns how long a stop may take: shards, documents and clients have the grace each, and what is closed at the
    end (Kafka's client, the store) some seconds."""
    return 3 * grace + 30


def default_grace():
    """Returns edge.shutdown-grace where nothing is set."""
    table = (ROOT / "src/config/options.rs").read_text()
    return seconds(re.search(r'opt\("edge.shutdown-grace", r#""(\w+)""#', table)[1])


def unit():
    """The service has the time to drain, and the hardening that is asked for."""
    path = DEPLOY / "systemd/quire.service"
    text = path.read_text()
    for line in """Restart=on-failure DynamicUser=yes NoNewPrivileges=yes ProtectSystem=strict
            StateDirectory=quire KillSignal=SIGTERM CapabilityBoundingSet=
            EnvironmentFile=-/etc/quire/quire.env""".split():
        if f"\n{line}\n" not in text:
            wrong(path, f"{line} is missing")
    environment = (DEPLOY / "systemd/quire.env").read_text()
    grace = seconds(re.search(r"(?m)^QUIRE_EDGE__SHUTDOWN_GRACE=(\w+)", environment)[1])
    if seconds(re.search(r"(?m)^TimeoutStopSec=(\w+)", text)[1]) < longest(grace):
        wrong(path, "TimeoutStopSec is not longer than the drain")
    connections = re.search(r'opt\("edge.connections-max", "(\d+)"', (ROOT / "src/config/options.rs").read_text())
    if int(re.search(r"LimitNOFILE=(\d+)", text)[1]) < 2 * int(connections[1]):
        wrong(path, "LimitNOFILE is too low for edge.connections-max")
    for number, line in enumerate(environment.splitlines(), 1):
        if line and not re.fullmatch(r"# .*|#?[A-Z_]+=\S.*", line):
            wrong(path.with_name("quire.env"), f"line {number} is neither a comment nor a variable")


def chart(rendered):
    """The parts of a rendered chart fit together."""
    where = Path(rendered).name
    parts = [part for part in yaml.safe_load_all(Path(rendered).read_text()) if part]

    def of(kind):
        return [part for part in parts if part["kind"] == kind]

    [workload] = of("StatefulSet")
    spec = workload["spec"]
    pod = spec["template"]["spec"]
    labels = spec["template"]["metadata"]["labels"].items()
    [container] = pod["containers"]
    names = {port["name"]: port["containerPort"] for port in container["ports"]}
    services = {service["metadata"]["name"]: service for service in of("Service")}
    selectors = [("StatefulSet", spec["selector"]["matchLabels"])]
    selectors += [("PodDisruptionBudget", p["spec"]["selector"]["matchLabels"]) for p in of("PodDisruptionBudget")]
    selectors += [("NetworkPolicy", p["spec"]["podSelector"]["matchLabels"]) for p in of("NetworkPolicy")]
    selectors += [("Service", service["spec"]["selector"]) for service in services.values()]
    for kind, selector in selectors:
        if not selector.items() <= labels:
            wrong(where, f"{kind} does not select the pods")
    headless = services.get(spec["serviceName"])
    if not headless or headless["spec"].get("clusterIP") != "None":
        wrong(where, "the StatefulSet's service is not headless")
    elif not headless["spec"]["publishNotReadyAddresses"]:
        wrong(where, "nodes that start cannot be found")
    used = [port["targetPort"] for service in services.values() for port in service["spec"]["ports"]]
    used += [container[probe]["httpGet"]["port"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")]
    for policy in of("NetworkPolicy"):
        for rule in policy["spec"]["ingress"]:
            ports = [port["port"] for port in rule["ports"]]
            used += ports
            if ("admin" in ports or "peer" in ports) and not rule.get("from"):
                wrong(where, "the ports of operators or nodes are open to everybody")
    used += [e["port"] for monitor in of("ServiceMonitor") for e in monitor["spec"]["endpoints"]]
    for port in used:
        if port not in names:
            wrong(where, f"there is no port {port}")
    for budget in of("PodDisruptionBudget"):
        if budget["spec"]["maxUnavailable"] != 1:
            wrong(where, "more than one node may be away")
    for monitor in of("ServiceMonitor"):
        if not monitor["spec"]["selector"]["matchLabels"].items() <= headless["metadata"]["labels"].items():
            wrong(where, "the ServiceMonitor selects no service")
    command = container["lifecycle"]["preStop"]["exec"]["command"]
    if not re.fullmatch(r'exec quire drain "\$\(hostname\)" --url http://127.0.0.1:\d+( --?\w+)*', command[-1].strip()):
        wrong(where, f"the drain is {command[-1]!r}")
    if f":{names['admin']}" not in command[-1]:
        wrong(where, "the drain asks another port than the operators'")
    [configuration] = of("ConfigMap")
    document = tomllib.loads(configuration["data"]["quire.toml"])
    grace = seconds(document["edge"]["shutdown-grace"])
    if pod["terminationGracePeriodSeconds"] < int(command[1]) + longest(grace):
        wrong(where, "the pod is killed while it drains")
    table = set(re.findall(r'opt\("([a-z.-]+)"', (ROOT / "src/config/options.rs").read_text()))
    table |= {line.removeprefix("option ") for line in planned("options-planned.txt")}
    for key, value in document.items():
        for inner in ([f"{key}.{name}" for name in value] if isinstance(value, dict) else [key]):
            if inner not in table:
                wrong(where, f"there is no option {inner}")
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    if mounted != {volume["name"] for volume in pod["volumes"]}:
        wrong(where, "volumes and mounts are not the same")
    paths = [mount["mountPath"] for mount in container["volumeMounts"]]
    for section in ("cql", "relay"):
        for key, path in document.get(section, {}).items():
            if key.endswith("-file") and str(Path(path).parent) not in paths:
                wrong(where, f"{section}.{key} is not mounted")
    if pod["securityContext"]["runAsUser"] != 10001 or "--uid 10001" not in (DEPLOY / "Dockerfile").read_text():
        wrong(where, "the image has another user")
    if of("Secret"):
        wrong(where, "a secret is rendered: it must be named only")


def texts():
    """No file names a folder of somebody's machine, and none has stray blanks."""
    for path in [*FILES, *(path for path in HERE.rglob("*") if path.is_file())]:
        if "__pycache__" in path.parts or path.name == "go.sum":
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if line != line.rstrip():
                wrong(path, f"line {number} ends in blanks")
            if re.search(r"/(home|root|work|Users)/", line) and "re.search" not in line:
                wrong(path, f"line {number} names a folder of a machine")


CHECKS = [metrics, options, panels, alerts, compose, image, unit, chart, texts]

{check.__name__: check for check in CHECKS}[sys.argv[1]](*sys.argv[2:])
for mistake in mistakes:
    print(mistake, file=sys.stderr)
sys.exit(1 if mistakes else 0)
