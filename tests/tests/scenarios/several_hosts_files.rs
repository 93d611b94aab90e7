//! The example for Kubernetes hangs together, and its ini is one that pgskein takes.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{Account, Folder, Pgskein, python};

#[test]
fn example_for_kubernetes_hangs_together() {
    python(CHECK, &[&example().display().to_string()]).ok();
    // The check can say no.
    let folder = Folder::make("kubernetes", &Account::unprivileged());
    let text = fs::read_to_string(example()).unwrap();
    for (right, wrong) in [
        (
            "terminationGracePeriodSeconds: 100",
            "terminationGracePeriodSeconds: 80",
        ),
        ("serviceName: pgskein", "serviceName: others"),
        ("path: /ready", "path: /readyz"),
        ("targetPort: postgresql", "targetPort: postgres"),
        (
            "    matchLabels:\n      app: pgskein",
            "    matchLabels:\n      app: other",
        ),
        ("  replicas: 3", " replicas: 3"),
    ] {
        assert!(text.contains(right), "{right}");
        let file = folder.join("wrong.yaml");
        fs::write(&file, text.replace(right, wrong)).unwrap();
        let run = python(CHECK, &[&file.display().to_string()]);
        assert_ne!(run.code, Some(0), "{wrong}");
    }
}

#[test]
fn ini_of_the_example_is_one_for_every_member() {
    let folder = Folder::make("kubernetes", &Account::unprivileged());
    let ini = python(PRINT_INI, &[&example().display().to_string()]).ok();
    let users = folder.join("users.txt");
    fs::write(&users, "").unwrap();
    let ini = ini.replace("/etc/pgskein-users/users.txt", &users.display().to_string());
    // Names of hosts in this one end in a number only by chance.
    let ini = ini.replace("peer_id = hostname", "peer_id = 3");
    let file = folder.join("pgskein.ini");
    fs::write(&file, ini).unwrap();
    let run = Pgskein::run(&["--check", file.to_str().unwrap()]);
    assert_eq!((run.code, &*run.stdout), (Some(0), ""), "{run:?}");
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../etc/kubernetes/pgskein.yaml")
}

const PRINT_INI: &str = "
import sys, yaml
objects = yaml.safe_load_all(open(sys.argv[1]))
print(next(o for o in objects if o['kind'] == 'ConfigMap')['data']['pgskein.ini'])
";

/// What refers to something refers to what is there, and times add up.
const CHECK: &str = r#"
import re, sys, yaml
objects = list(yaml.safe_load_all(open(sys.argv[1])))
assert all(o['apiVersion'] and o['metadata']['name'] for o in objects)
def of(kind):
    return [o for o in objects if o['kind'] == kind]
[config], [members], [budget] = of('ConfigMap'), of('StatefulSet'), of('PodDisruptionBudget')
headless, clients = sorted(of('Service'), key=lambda o: o['spec'].get('clusterIP') != 'None')
assert headless['spec']['clusterIP'] == 'None' and headless['spec']['publishNotReadyAddresses']
spec = members['spec']
pod = spec['template']['spec']
[container] = pod['containers']
labels = spec['template']['metadata']['labels']
for selector in [spec['selector']['matchLabels'], budget['spec']['selector']['matchLabels'],
                 headless['spec']['selector'], clients['spec']['selector']]:
    assert selector.items() <= labels.items(), selector
assert budget['spec']['maxUnavailable'] == 1 and spec['replicas'] > 1
assert spec['serviceName'] == headless['metadata']['name']
ini = config['data']['pgskein.ini']
def setting(name):
    return re.search(rf'^{name} = (.+)$', ini, re.M)[1]
ports = {p['name']: p['containerPort'] for p in container['ports']}
assert ports['postgresql'] == int(setting('listen_port')) == headless['spec']['ports'][0]['port']
assert ports['http'] == int(setting('http_listen').rsplit(':')[-1])
assert clients['spec']['ports'][0]['targetPort'] == 'postgresql'
for probe, path in [('readinessProbe', '/ready'), ('livenessProbe', '/live'), ('startupProbe', '/ready')]:
    get = container[probe]['httpGet']
    assert get == {'path': path, 'port': 'http'}, get
hook = int(container['lifecycle']['preStop']['exec']['command'][-1])
kill = int(setting('drain_kill_timeout'))
assert int(setting('drain_timeout')) < kill
assert hook + int(setting('drain_delay')) + kill < pod['terminationGracePeriodSeconds']
name, service = members['metadata']['name'], headless['metadata']['name']
[line] = re.search(r'\[peers\]\n(.+)', ini, re.S)[1].strip().splitlines()
last = int(re.fullmatch(rf'1-(\d+) = host={name}-%d\.{service}\.default\.svc port=6432 kind=pgskein', line)[1])
assert spec['replicas'] <= last and setting('peer_id') == 'hostname'
volumes = {v['name']: v for v in pod['volumes']}
mounts = {m['name']: m['mountPath'] for m in container['volumeMounts']}
assert mounts.keys() == volumes.keys()
assert volumes['configuration']['configMap']['name'] == config['metadata']['name']
assert container['command'][-1] == mounts['configuration'] + '/pgskein.ini'
assert setting('auth_file').startswith(mounts['users'] + '/')
"#;
