# Lets apt take packages from the folder $1/repository alone, an index with archives, and leave what it knows of other sources as it is.
# Everything that it writes on the way is below $1.
repository() {
  folder=$1
  mkdir -p -- "$folder/lists/partial" "$folder/archives/partial"
  # What is in the folder was compared with digests before it came here, and this user alone writes to it.
  printf 'deb [trusted=yes] file:%s ./\n' "$folder/repository" >"$folder/sources.list"
  cat >"$folder/apt.conf" <<CONF
Dir::Etc::SourceList "$folder/sources.list";
Dir::Etc::SourceParts "-";
Dir::State::Lists "$folder/lists";
Dir::Cache::Archives "$folder/archives";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
APT::Sandbox::User "root";
CONF
  export APT_CONFIG=$folder/apt.conf
  apt-get --quiet=2 update
}

