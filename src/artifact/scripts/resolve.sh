# Asks the source for what standard input names, all lines side by side, and changes nothing. A line is "CHECKSUM-URL URL" of one file,
# or one URL that is only to be reached. $1 is the longest that a connection may take, in seconds.
# Every line of output starts with the number of the input line that it belongs to. Each transfer ends with "== HTTP-STATUS",
# 000 where there was no answer.
command -v curl >/dev/null 2>&1 || exit 127

both() {
  curl --silent --show-error --location --globoff --fail-early --connect-timeout "$1" --max-time 30 --max-filesize 1048576 \
    --write-out '\n== %{http_code}\n' --url "$2" \
    --next --silent --show-error --location --globoff --connect-timeout "$1" --max-time 30 \
    --head --write-out '\n== %{http_code}\n' --url "$3"
}

reach() {
  curl --silent --show-error --globoff --connect-timeout "$1" --max-time 30 --output /dev/null --write-out '\n== %{http_code}\n' --url "$2"
}

number=0
while read -r first second; do
  number=$((number + 1))
  # sed sends line by line, so that lines of different transfers do not run into each other.
  if [ -n "$second" ]; then both "$1" "$first" "$second"; else reach "$1" "$first"; fi 2>&1 | sed -u "s/^/$number /" &
done
wait
exit 0
