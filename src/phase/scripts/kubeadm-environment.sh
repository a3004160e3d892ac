# kubeadm copies the proxy of its own environment into the Pods of the control plane, where nothing needs one.
unset http_proxy https_proxy no_proxy ftp_proxy all_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY FTP_PROXY ALL_PROXY
