//! Gives the library the name under which CUDA programs look for the driver. The file itself is called otherwise, so the
//! loader finds it under that name only after somebody has loaded it by its path.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcuda.so");
}
