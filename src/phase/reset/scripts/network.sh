# Each table in one go and nothing flushed: the rules that jump to a chain, then the chain. Rules of anybody else's are not written anew.
set -e
for family in $(list savers); do
  "$family-save" 2>/dev/null | awk -v theirs='^(KUBE|CNI|FLANNEL)-' '
    /^\*/ { print; table = 1; chains = ""; next }
    /^:/ { name = substr($1, 2); if (name ~ theirs) { print ":" name " - [0:0]"; chains = chains "-X " name "\n" } next }
    /^-A / {
      if ($2 ~ theirs) next
      for (i = 3; i < NF; i++) if (($i == "-j" || $i == "-g") && $(i + 1) ~ theirs) { sub(/^-A/, "-D"); print; break }
      next
    }
    /^COMMIT/ { printf "%s", chains; print }' | "$family-restore" --noflush
done
list rules | while read -r kind first second _; do
  case $kind in
    nft) nft delete table "$first" "$second" ;;
    ipset) ipset destroy "$first" ;;
    ipvs) ipvsadm --delete-service "$first" "$second" ;;
  esac
done
# The program that shows them may be a package that goes later: so this is proven here.
left=$(list rules)
if [ -n "$left" ]; then
  printf '%s\n' "$left" >&2
  exit 1
fi
list links | while read -r link; do
  # The end of a pair goes with the other one.
  ip link delete dev "$link" 2>/dev/null || [ ! -e "/sys/class/net/$link" ]
done
