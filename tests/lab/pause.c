/* The pause container: holds a pod's namespaces, reaps orphans, ends on SIGTERM. `-v`, which kubeadm's health check of an upgrade runs, tells its version. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void stop(int signal) { (void)signal; _exit(0); }

static void reap(int signal) {
  (void)signal;
  while (waitpid(-1, NULL, WNOHANG) > 0) {}
}

int main(int count, char **words) {
  for (int i = 1; i < count; i++) {
    if (strcmp(words[i], "-v") == 0) {
      puts("pause.c of the lab");
      return 0;
    }
  }
  struct sigaction children = {.sa_handler = reap, .sa_flags = SA_NOCLDSTOP};
  signal(SIGINT, stop);
  signal(SIGTERM, stop);
  sigaction(SIGCHLD, &children, NULL);
  for (;;) pause();
}
