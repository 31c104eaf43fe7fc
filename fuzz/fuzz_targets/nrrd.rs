//! Any bytes as a nrrd file: a volume or an error.
#![no_main]

mod file;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let path = file::with("nrrd.nrrd", bytes);
    let _ = dasl_volume::image_file::read_ct(&path);
    let _ = dasl_volume::image_file::read_labels(&path);
});
