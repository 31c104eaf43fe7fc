//! Any bytes, cut in the middle, as two slices of a series: a volume or an error.
#![no_main]

mod file;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    file::with("1.dcm", first);
    let path = file::with("2.dcm", second);
    if let Some(folder) = path.parent() {
        let _ = dasl_volume::dicom::read_folder(folder);
    }
});
