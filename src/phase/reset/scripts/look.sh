# Says everything that is here, `KIND<tab>WHAT` a line, `end` last.
say() {
  "$1" | while IFS= read -r line; do
    printf '%s\t%s\n' "$2" "$line"
  done
}
if ours; then
  say processes process
  say units unit
  say mounts mount
  say links link
  say rules rule
  say files file
  say settings setting
  say packages package
  say records record
  say remarks remark
fi
say stores store
say aside remark
echo end
