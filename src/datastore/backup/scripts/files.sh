# Prints the files of a control plane that a backup keeps, a line each, in the order of their names: `file`, mode, path and content in base64,
# apart by tabs. In front, where the API server encrypts what it stores, a line `encryption` with the path of what it was told.
#
# $1: the API server's manifest; the others: folders
manifest=$1
shift
config=
[ ! -e "$manifest" ] || config=$(sed -n 's/^ *- *"\{0,1\}--encryption-provider-config=\([^"]*\)"\{0,1\} *$/\1/p' "$manifest" | head -n 1)
[ -z "$config" ] || printf 'encryption\t%s\n' "$config"
# What is in a name ends no line.
{
    find "$@" -type f ! -name '*[[:cntrl:]]*' 2>/dev/null
    [ ! -f "$config" ] || printf '%s\n' "$config"
} | LC_ALL=C sort -u | while IFS= read -r path; do
    content=$(base64 <"$path" | tr -d '\n') || exit 1
    printf 'file\t%s\t%s\t%s\n' "$(stat -c %a -- "$path")" "$path" "$content"
done
