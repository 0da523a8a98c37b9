//! An image of the application under test, made of the machine's own files: no registry is asked.

use crate::machine::Machine;

/// The image has the application, and busybox for a shell.
pub const IMAGE: &str = "localhost/app:1";

/// A pod of one container that serves on port 8080.
pub fn pod(name: &str) -> String {
    format!(
        r#"apiVersion: v1
kind: Pod
metadata:
  name: {name}
spec:
  containers:
  - name: web
    image: {IMAGE}
    command: [/bin/app, --stop-delay, 0s, --address, 0.0.0.0, --tcp, "8080"]
"#
    )
}

/// Makes it. `mark` makes it another one.
pub fn make(m: &Machine, image: &str, mark: &str) {
    m.copy_app("/root/image/bin/app");
    m.run(&recipe(image, mark));
}

/// The commands that make it out of /root/image/bin/app.
pub fn recipe(image: &str, mark: &str) -> String {
    format!(
        r#"cd /root/image; mkdir -p lib64 lib/x86_64-linux-gnu tmp proc dev sys run etc
        cp /bin/busybox bin/; ln -sf busybox bin/sh; ln -sf busybox bin/cat; ln -sf busybox bin/sleep
        ldd bin/app | grep -o '/lib[^ ]*' | while read -r lib; do cp -L "$lib" ".$lib"; done
        echo {mark} >etc/mark
        tar -c . | podman import --quiet --change 'ENV PATH=/bin' - {image}"#
    )
}
