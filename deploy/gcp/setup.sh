#!/bin/sh
# Makes what Calotype needs of Google Cloud: two buckets, two service accounts, and their rights. It needs gcloud with a
# user who may do that. It may be run again: what exists is kept, and gets the settings below.
#
#   deploy/gcp/setup.sh --project PROJECT --location europe-west4 --public-bucket NAME --staging-bucket NAME
set -eu

usage() {
    cat <<'EOF'
usage: setup.sh --project ID --location REGION --public-bucket NAME --staging-bucket NAME [options]
  --namespace NAME       namespace of the pods (calotype)
  --retention-days DAYS  CALOTYPE_RETENTION_DAYS of the installation (90)
  --dry-run              print the commands that change something, and run none
EOF
}

fail() {
    echo "setup.sh: $1" >&2
    exit 2
}

project='' location='' public='' staging='' namespace=calotype retention=90 dry_run=''
while [ $# -gt 0 ]; do
    case $1 in
        --dry-run) dry_run=yes; shift; continue ;;
        --help) usage; exit 0 ;;
    esac
    [ $# -ge 2 ] || fail "$1 needs a value"
    case $1 in
        --project) project=$2 ;;
        --location) location=$2 ;;
        --public-bucket) public=$2 ;;
        --staging-bucket) staging=$2 ;;
        --namespace) namespace=$2 ;;
        --retention-days) retention=$2 ;;
        *) usage >&2; fail "unknown option $1" ;;
    esac
    shift 2
done
for given in "$project" "$location" "$public" "$staging"; do
    [ -n "$given" ] || { usage >&2; fail "an option is missing"; }
done
[ "$public" != "$staging" ] || fail "the buckets must differ: everybody may read the public one"
case $retention in
    '' | *[!0-9]* | 0*) fail "--retention-days must be a whole number of days" ;;
esac

change() {
    if [ -n "$dry_run" ]; then
        echo "gcloud $*"
    else
        gcloud "$@" --quiet >/dev/null
    fi
}

exists() {
    gcloud "$@" --quiet >/dev/null 2>&1
}

# Deleted images are deleted: by default, Google keeps them for seven more days.
bucket() { # name, option of public access
    if ! exists storage buckets describe "gs://$1"; then
        change storage buckets create "gs://$1" --project "$project" --location "$location" \
            --uniform-bucket-level-access "$2" --soft-delete-duration 0
    fi
    change storage buckets update "gs://$1" --uniform-bucket-level-access "$2" --clear-soft-delete \
        --lifecycle-file "$lifecycle/$1.json"
}

account() { # service
    address=$(address "$1")
    if ! exists iam service-accounts describe "$address" --project "$project"; then
        change iam service-accounts create "calotype-$1" --project "$project" --display-name "Calotype $1"
    fi
    change iam service-accounts add-iam-policy-binding "$address" --project "$project" \
        --role roles/iam.workloadIdentityUser --member "serviceAccount:$project.svc.id.goog[$namespace/$1]"
}

grant() { # bucket, member, role
    change storage buckets add-iam-policy-binding "gs://$1" --member "$2" --role "roles/storage.$3"
}

address() { # service
    echo "calotype-$1@$project.iam.gserviceaccount.com"
}

lifecycle=$(mktemp -d)
trap 'rm -rf "$lifecycle"' EXIT
# Calotype deletes by itself. This rule is for what an installation left that is gone, and must never be faster than a
# job: inputs stay until the job is deleted, which may wait for a worker, and be retried, before its retention begins.
cat >"$lifecycle/$staging.json" <<EOF
{"rule": [{"action": {"type": "Delete"}, "condition": {"age": $((retention + 60))}}]}
EOF
# Public images have no such rule: their URLs are in use for as long as their job is kept.
cat >"$lifecycle/$public.json" <<EOF
{"rule": [{"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 7}}]}
EOF

change services enable storage.googleapis.com iam.googleapis.com iamcredentials.googleapis.com --project "$project"
bucket "$staging" --public-access-prevention
bucket "$public" --no-public-access-prevention
account generator
account uploader
grant "$staging" "serviceAccount:$(address generator)" objectUser
# With listing: without it, Google says of a missing object that it is forbidden, which looks like a lost right.
grant "$staging" "serviceAccount:$(address uploader)" objectViewer
grant "$public" "serviceAccount:$(address uploader)" objectUser
# Reads an object by its name. Roles named objectViewer also list, and so show every tenant's images to everybody.
grant "$public" allUsers legacyObjectReader

[ -z "$dry_run" ] || exit 0
cat <<EOF
CALOTYPE_BUCKET=$public
CALOTYPE_STAGING_BUCKET=$staging
CALOTYPE_PUBLIC_BASE_URL=https://storage.googleapis.com/$public/
CALOTYPE_RETENTION_DAYS=$retention
GENERATOR_ACCOUNT=$(address generator)
UPLOADER_ACCOUNT=$(address uploader)
# Check it: CALOTYPE_BUCKET=$public calotype doctor
EOF
