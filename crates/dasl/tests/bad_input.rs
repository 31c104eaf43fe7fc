//! Wrong input: one line that says what is wrong with which file, and the rest is done.

mod made_up;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use dasl_volume::{PointMm, nifti};
use dicom_core::VR;
use dicom_dictionary_std::tags;
use made_up::{CONFIG, Ran, copy, import, only, run, slice, xml};
use tempfile::TempDir;

/// What these tests share.
struct Bench {
    /// Two patients' DICOM and XML.
    source: PathBuf,
    dataset: PathBuf,
    /// A trained run.
    model: PathBuf,
    config: PathBuf,
    _lock: File,
}

fn bench() -> &'static Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(|| {
        let (folder, lock) = made_up::shared_folder("bad_input");
        let at = |name: &str| folder.join(name);
        let bench = Bench {
            source: at("source"),
            dataset: at("dataset"),
            model: at("model"),
            config: at("config.toml"),
            _lock: lock,
        };
        made_up::scans(&bench.source, 1, 2);
        fs::write(&bench.config, CONFIG.replace("steps = 40", "steps = 2")).unwrap();
        import(&bench.source, &bench.dataset).done();
        train(&bench.config, &bench.model).done();
        bench
    })
}

/// `dasl train` where `bench()` is not ready yet.
fn train(config: &Path, out: &Path) -> Ran {
    let dataset = config.with_file_name("dataset");
    let paths = [text(&dataset), "--config", text(config), "--out", text(out)];
    run(["train", "--preset", "tiny"].iter().chain(&paths))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// PHANTOM-001 as it is and PHANTOM-002, whose series' folder is returned, to be spoiled.
fn batch() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    copy(&bench().source, folder.path());
    let series = only(&only(&folder.path().join("PHANTOM-002")));
    (folder, series)
}

/// Imports a batch: PHANTOM-001 is taken in, the other set aside with these words.
fn sets_aside(batch: &TempDir, words: &[&str]) {
    let out = tempfile::tempdir().unwrap();
    let ran = import(batch.path(), out.path()).set_aside(words);
    assert!(ran.out.contains("1 scans with"), "{}", ran.out);
    assert!(ran.out.contains("1 set aside"), "{}", ran.out);
    assert!(out.path().join("scans/PHANTOM-001/scan.json").is_file());
    assert!(!out.path().join("scans/PHANTOM-002").exists());
    // The same is kept beside the dataset, one row for one cause.
    let listed = fs::read_to_string(out.path().join("set_aside.csv")).unwrap();
    assert_eq!(listed.lines().count(), 2, "{listed}");
}

/// Segments one input: it is set aside with these words, and nothing else is written.
fn segment_sets_aside(scan: &Path, words: &[&str]) {
    let out = tempfile::tempdir().unwrap();
    segment(scan, &bench().model, out.path()).set_aside(words);
    assert_eq!(only(out.path()), out.path().join("set_aside.csv"));
}

fn segment(scan: &Path, model: &Path, out: &Path) -> Ran {
    run(["segment", text(scan), "--model", text(model), "--out", text(out)])
}

#[test]
fn a_missing_slice() {
    let (batch, series) = batch();
    fs::remove_file(slice(&series, 20)).unwrap();
    let words = ["slices missing", "000019.dcm", "000021.dcm", "a gap of 6.000 mm"];
    sets_aside(&batch, &words);
    segment_sets_aside(&series, &words);
}

#[test]
fn a_duplicate_slice() {
    let (batch, series) = batch();
    fs::copy(slice(&series, 20), series.join("again.dcm")).unwrap();
    // A copy of a file is used once; another slice at its place is not.
    made_up::rewrite_file(&series.join("again.dcm"), tags::SOP_INSTANCE_UID, VR::UI, "1.2.3");
    let words = ["000020.dcm", "again.dcm", "same position", "keep one"];
    sets_aside(&batch, &words);
    segment_sets_aside(&series, &words);
}

#[test]
fn another_modality() {
    let (batch, series) = batch();
    made_up::rewrite(&series, tags::MODALITY, VR::CS, "MR");
    sets_aside(&batch, &["no CT series", "MR", text(&series)]);
    segment_sets_aside(&series, &["no CT series", "MR", text(&series)]);
}

#[test]
fn a_truncated_file() {
    // In the pixels, in the header, at the very start.
    for bytes in [3000, 600, 0] {
        let (batch, series) = batch();
        let file = File::options().write(true).open(slice(&series, 20)).unwrap();
        file.set_len(bytes).unwrap();
        let why = if bytes == 0 { "empty" } else { "truncated" };
        sets_aside(&batch, &["000020.dcm", why]);
        segment_sets_aside(&series, &["000020.dcm", why]);
    }
}

#[test]
fn the_xml_of_another_series() {
    let (batch, series) = batch();
    let own = xml(&series);
    let foreign = fs::read_to_string(&own).unwrap().replace(series_uid(&series), "1.2.3.4");
    fs::write(&own, foreign).unwrap();
    sets_aside(&batch, &[text(&own), "1.2.3.4"]);
}

#[test]
fn a_foreign_xml_beside_the_own_does_no_harm_to_the_scan() {
    let (batch, series) = batch();
    let foreign = fs::read_to_string(xml(&series)).unwrap().replace(series_uid(&series), "1.2.3.4");
    let path = series.join("foreign.xml");
    fs::write(&path, foreign).unwrap();
    let out = tempfile::tempdir().unwrap();
    let ran = import(batch.path(), out.path()).set_aside(&[text(&path), "1.2.3.4"]);
    assert!(ran.out.contains("2 scans with"), "{}", ran.out);
}

fn series_uid(series: &Path) -> &str {
    series.file_name().unwrap().to_str().unwrap()
}

#[test]
fn a_malformed_xml_is_named_once() {
    let (batch, series) = batch();
    let path = xml(&series);
    let half = fs::read_to_string(&path).unwrap();
    fs::write(&path, &half[..900]).unwrap();
    let out = tempfile::tempdir().unwrap();
    let ran = import(batch.path(), out.path()).set_aside(&[text(&path), "not well-formed XML"]);
    assert_eq!(ran.err.matches(text(&path)).count(), 1, "{}", ran.err);
    sets_aside(&batch, &["not well-formed XML"]);
}

#[test]
fn no_xml() {
    let (batch, series) = batch();
    fs::remove_file(xml(&series)).unwrap();
    sets_aside(&batch, &[text(&series), "no LIDC XML", series_uid(&series)]);
}

#[test]
fn what_was_set_aside_is_taken_in_once_it_is_mended() {
    let (batch, series) = batch();
    let lost = fs::read(slice(&series, 20)).unwrap();
    fs::remove_file(slice(&series, 20)).unwrap();
    let out = tempfile::tempdir().unwrap();
    import(batch.path(), out.path()).set_aside(&["slices missing"]);
    fs::write(slice(&series, 20), lost).unwrap();
    let ran = import(batch.path(), out.path()).done();
    assert!(ran.out.contains("1 there already, 0 set aside"), "{}", ran.out);
    assert!(out.path().join("scans/PHANTOM-002/scan.json").is_file());
}

#[test]
fn a_good_scan_beside_bad_ones_is_segmented() {
    let (batch, series) = batch();
    fs::remove_file(slice(&series, 20)).unwrap();
    let out = tempfile::tempdir().unwrap();
    let good = only(&only(&batch.path().join("PHANTOM-001")));
    let paths = [text(&series), text(&good), "--model", text(&bench().model)];
    let rest = ["--out", text(out.path())];
    let segment = || run(["segment"].iter().chain(&paths).chain(&rest));
    segment().set_aside(&["slices missing"]);
    let listed = fs::read_to_string(out.path().join("set_aside.csv")).unwrap();
    assert!(listed.starts_with("source,reason\n") && listed.contains("slices missing"), "{listed}");
    assert!(out.path().join("PHANTOM-001/nodules.nii.gz").is_file());
    assert!(!out.path().join("PHANTOM-002").exists());
    // Gone with the bad scan.
    fs::remove_dir_all(&series).unwrap();
    fs::create_dir(&series).unwrap();
    fs::copy(slice(&good, 1), series.join("x.dcm")).unwrap();
    segment().done();
    assert!(!out.path().join("set_aside.csv").exists());
}

#[test]
fn an_empty_folder_and_one_that_does_not_exist() {
    let empty = tempfile::tempdir().unwrap();
    let none = empty.path().join("none");
    let out = none.join("dataset");
    import(empty.path(), &out).failed(&[text(empty.path()), "no DICOM file"]);
    import(&none, &out).failed(&[text(&none), "does not exist"]);
    assert!(!none.exists(), "nothing is made of nothing");
    segment_sets_aside(empty.path(), &[text(empty.path()), "no DICOM file"]);
    segment_sets_aside(&none, &[text(&none), "does not exist"]);
}

#[test]
fn files_that_are_no_image() {
    let folder = tempfile::tempdir().unwrap();
    for (name, why) in [
        ("notes.txt", "no format that dasl reads"),
        ("scan.nii", "cannot be read as NIfTI"),
        ("scan.nii.gz", "cannot be read as NIfTI"),
        ("scan.mha", "scan.mha"),
        ("scan.nrrd", "scan.nrrd"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, "neither header nor voxels").unwrap();
        let out = tempfile::tempdir().unwrap();
        let words = [text(&path), why];
        let ran = segment(&path, &bench().model, out.path()).set_aside(&words);
        assert!(!ran.err.contains("Io("), "a person reads this: {}", ran.err);
    }
}

#[test]
fn a_model_that_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let scan = &bench().source.join("PHANTOM-001");
    segment(scan, &bench().source, &out).failed(&[text(&bench().source), "no run of dasl"]);

    let model = folder.path().join("model");
    copy(&bench().model, &model);
    // A configuration that was edited: nothing would be found, or worse.
    let config = fs::read_to_string(model.join("config.toml")).unwrap();
    assert!(config.contains("border = 8"));
    fs::write(model.join("config.toml"), config.replace("border = 8", "border = 60")).unwrap();
    segment(scan, &model, &out).failed(&["config.toml", "border"]);
    fs::write(model.join("config.toml"), config).unwrap();

    fs::write(model.join("weights.safetensors"), "no weights").unwrap();
    segment(scan, &model, &out).failed(&["weights.safetensors", "not a weights file"]);

    fs::remove_file(model.join("weights.safetensors")).unwrap();
    fs::remove_file(model.join("checkpoint.safetensors")).unwrap();
    segment(scan, &model, &out).failed(&[text(&model), "no weights yet"]);

    fs::write(model.join("config.toml"), "").unwrap();
    segment(scan, &model, &out).failed(&["config.toml", "net"]);
    assert!(!out.exists());
}

#[test]
fn settings_that_make_no_sense() {
    let bench = bench();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("mine.toml");
    let out = folder.path().join("run");
    for (settings, words) in [
        ("[train]\nstep = 7", &["`step`", "`steps`"][..]),
        ("[trian]\nsteps = 7", &["`trian`"]),
        ("[train]\npatch = 40", &["train.patch is 40", "multiple of 16"]),
        ("[infer]\ntile = 100", &["infer.tile is 100", "multiple of 16"]),
        ("[infer]\nthreshold = \"high\"", &["\"high\"", "infer.threshold"]),
        ("[infer]\nthreshold = 1.5", &["infer.threshold"]),
        ("[infer]\nflips = 3", &["infer.flips is 3", "1, 2, 4 or 8"]),
        ("[learn]\npseudo_flips = 0", &["learn.pseudo_flips is 0", "1, 2, 4 or 8"]),
        ("[learn]\nannotated_share = 1.5", &["learn.annotated_share is 1.5"]),
        ("[train]\ncheckpoint_every = 0", &["train.checkpoint_every"]),
        ("[train]\nlearning_rate = -0.1", &["train.learning_rate"]),
        ("[train]\nlearning_rate = nan", &["train.learning_rate"]),
        ("[net]\nstem = 0", &["net.stem"]),
        ("[net]\nlayers = [2, 0, 2]", &["net.layers"]),
        ("[learn.engine]\nper_round = 0", &["per_round is 0"]),
        ("[[[", &["no TOML", "line 1"]),
    ] {
        fs::write(&config, settings).unwrap();
        let words = [&["mine.toml"], words].concat();
        let dataset = text(&bench.dataset);
        let paths = [dataset, "--config", text(&config), "--out", text(&out)];
        run(["train", "--preset", "tiny"].iter().chain(&paths)).failed(&words);
        assert!(!out.exists(), "a run that can't begin leaves nothing: {settings}");
    }
    let settings = "[train]\noptimizer = \"adam\"\nlearning_rate = 1e10\nwarm_up = 0\nsteps = 9\n\
                    patch = 32\nbatch = 1";
    fs::write(&config, settings).unwrap();
    let diverged = folder.path().join("diverged");
    let paths = [text(&bench.dataset), "--config", text(&config), "--out", text(&diverged)];
    run(["train", "--preset", "tiny"].iter().chain(&paths)).failed(&["training diverged at step"]);
    assert!(!diverged.join("weights.safetensors").exists());
    let none = folder.path().join("none.toml");
    let paths = [text(&bench.dataset), "--config", text(&none), "--out", text(&out)];
    run(["train"].iter().chain(&paths)).failed(&["none.toml", "No such file"]);
}

#[test]
fn choices_that_learn_does_not_know_leave_no_run() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    for (option, value, words) in [
        ("--sequence", "spl-later", &["\"later\"", "spl-al-spl"][..]),
        ("--strategy", "best", &["--strategy best", "least-confidence"]),
    ] {
        let paths = [text(&bench().dataset), "--out", text(&out), option, value];
        run(["learn", "--preset", "tiny"].iter().chain(&paths)).failed(words);
        assert!(!out.exists(), "{option} {value}");
    }
}

#[test]
fn a_run_is_not_written_over() {
    let bench = bench();
    let before = fs::read(bench.model.join("weights.safetensors")).unwrap();
    train(&bench.config, &bench.model).failed(&[text(&bench.model), "run already", "--resume"]);
    let paths = [text(&bench.dataset), "--out", text(&bench.model)];
    run(["learn", "--preset", "tiny"].iter().chain(&paths))
        .failed(&[text(&bench.model), "dasl train"]);
    assert_eq!(fs::read(bench.model.join("weights.safetensors")).unwrap(), before);
}

#[test]
fn what_one_command_wrote_is_not_mixed_with_what_another_writes() {
    let bench = bench();
    let folder = tempfile::tempdir().unwrap();
    let (scan, file) = (bench.source.join("PHANTOM-001"), folder.path().join("file"));
    fs::write(&file, "").unwrap();
    segment(&scan, &bench.model, &file).failed(&[text(&file), "is a file"]);
    segment(&scan, &bench.model, &bench.dataset).failed(&[text(&bench.dataset), "a dataset"]);
    segment(&scan, &bench.model, &bench.model).failed(&[text(&bench.model), "holds a run"]);
    train(&bench.config, &bench.dataset).failed(&[text(&bench.dataset), "a dataset"]);
    run(["import", "scans", text(&scan), "--out", text(&bench.model)])
        .failed(&[text(&bench.model), "holds a run"]);
}

#[test]
fn a_dataset_that_is_none_or_another() {
    let bench = bench();
    let out = tempfile::tempdir().unwrap();
    let paths = [text(&bench.source), "--out", text(out.path())];
    run(["train"].iter().chain(&paths)).failed(&[text(&bench.source), "no dataset here"]);
    run(["import", "lidc", text(&bench.source), "--out", text(&bench.dataset)]).failed(&[
        text(&bench.dataset),
        "spacing 2 mm",
        "not 1 mm",
    ]);
}

#[test]
fn a_prediction_on_another_grid() {
    let bench = bench();
    let folder = tempfile::tempdir().unwrap();
    let scan = bench.source.join("PHANTOM-001");
    segment(&scan, &bench.model, folder.path()).done();
    let path = folder.path().join("PHANTOM-001/nodules.nii.gz");
    let evaluate = || run(["evaluate", text(folder.path()), text(&bench.dataset)]);
    evaluate().done();

    let mut labels = nifti::read_labels(&path).unwrap();
    let o = labels.geometry.origin_mm;
    labels.geometry.origin_mm = PointMm::new(o.x + 0.5, o.y, o.z);
    nifti::write_labels(&path, &labels).unwrap();
    evaluate().failed(&[text(&path), "another grid", "PHANTOM-001", "segment the scan itself"]);

    fs::write(&path, "cut").unwrap();
    evaluate().failed(&[text(&path), "cannot be read as NIfTI"]);
    fs::remove_file(&path).unwrap();
    evaluate().failed(&[text(&path), "does not exist"]);
}

#[test]
fn predictions_of_other_scans() {
    let bench = bench();
    let empty = tempfile::tempdir().unwrap();
    let predictions = |folder: &Path| run(["evaluate", text(folder), text(&bench.dataset)]);
    predictions(empty.path()).failed(&["none of the 2 scans", text(empty.path())]);
    let none = empty.path().join("none");
    predictions(&none).failed(&[text(&none), "No such file"]);
}

/// Another series of a patient who is in the dataset already is another scan.
#[test]
fn a_second_series_of_a_patient_is_not_taken_for_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("dataset");
    import(&bench().source.join("PHANTOM-001"), &out).done();

    let later = folder.path().join("later");
    copy(&bench().source.join("PHANTOM-002"), &later);
    let series = only(&only(&later));
    made_up::rewrite(&series, tags::PATIENT_ID, VR::LO, "PHANTOM-001");
    let ran = import(&later, &out).done();
    assert!(ran.out.contains("1 scans with"), "{}", ran.out);
    assert_eq!(fs::read_dir(out.join("scans")).unwrap().count(), 2);
}

/// Whichever of the two comes first in the order of UIDs.
#[test]
fn another_modality_beside_the_patients_ct() {
    for uid in ["1.1", "9.9"] {
        let (batch, series) = batch();
        made_up::rewrite(&series, tags::MODALITY, VR::CS, "MR");
        made_up::rewrite(&series, tags::PATIENT_ID, VR::LO, "PHANTOM-001");
        made_up::rewrite(&series, tags::SERIES_INSTANCE_UID, VR::UI, uid);
        fs::remove_file(xml(&series)).unwrap();
        sets_aside(&batch, &["no CT series", "MR", uid, text(&series)]);
    }
}

/// A patient's identifier is not the program's to trust: it becomes a folder's name.
#[test]
fn an_identifier_leads_to_no_other_folder() {
    for id in ["../elsewhere", "..", "Größe 7"] {
        let (batch, series) = batch();
        made_up::rewrite(&series, tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192");
        made_up::rewrite(&series, tags::PATIENT_ID, VR::LO, id);
        let folder = tempfile::tempdir().unwrap();
        let (out, dataset) = (folder.path().join("out"), folder.path().join("dataset"));
        segment(&series, &bench().model, &out).done();
        let written = made_up::entries(&out);
        let folders: Vec<_> = written.iter().filter(|path| path.is_dir()).collect();
        assert!(folders.len() == 1 && folders[0].join("nodules.nii.gz").is_file(), "{id}");
        import(batch.path(), &dataset).done();
        assert_eq!(fs::read_dir(dataset.join("scans")).unwrap().count(), 2, "{id}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "{id}");
    }
}

#[test]
fn scans_of_one_name_do_not_write_over_each_other() {
    let (batch, series) = batch();
    made_up::rewrite(&series, tags::PATIENT_ID, VR::LO, "PHANTOM-001");
    let first = only(&only(&batch.path().join("PHANTOM-001")));
    let out = tempfile::tempdir().unwrap();
    let paths = [text(&first), text(&series), "--model", text(&bench().model)];
    run(["segment"].iter().chain(&paths).chain(&["--out", text(out.path())])).done();
    assert_eq!(made_up::entries(out.path()).iter().filter(|path| path.is_dir()).count(), 2);
}

#[test]
#[cfg(not(feature = "gpu"))]
fn a_gpu_that_this_build_does_not_have() {
    let bench = "bench --network --preset tiny --patch 16 --device gpu".split(' ');
    run(bench).failed(&["without GPU support", "--features gpu", "--device cpu"]);
}

#[test]
fn a_patch_that_the_network_can_not_take() {
    run(["bench", "--patch", "100"]).failed(&["--patch is 100", "a multiple of 16"]);
}
