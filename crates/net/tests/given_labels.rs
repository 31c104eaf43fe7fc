//! What a reader gives: an answer of this run is trained on in place of the dataset's label, and a box
//! is outlined in.

use burn::tensor::Device;
use dasl_net::config::{Config, Preset, TrainConfig};
use dasl_net::infer::Segmenter;
use dasl_net::model::NoduleRcnn;
use dasl_net::patch::{Known, Patch, PlacedMask, TrainingSample, TrainingSet, draw, sample_box};
use dasl_net::sample::{predict_box, predict_sample};
use dasl_net::weights;
use dasl_volume::dataset::{
    Dataset, DatasetInfo, DatasetWriter, IgnoredRecord, NoduleRecord, ScanArrays, ScanRecord,
};
use dasl_volume::{Geometry, PointMm};
use ndarray::{Array3, s};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const SHAPE: [usize; 3] = [96; 3];
/// Where the dataset has a nodule, in all directions.
const NODULE: std::ops::Range<usize> = 44..52;

fn config() -> TrainConfig {
    TrainConfig { patch: 32, mask_crop: 16, ..Config::preset(Preset::Tiny).train }
}

/// Lung in the sample's box, bone outside: a patch that leaves the box shows.
fn dataset(folder: &std::path::Path) -> Dataset {
    dataset_with(folder, NODULE)
}

/// The same with a nodule of another size.
fn dataset_with(folder: &std::path::Path, nodule_at: std::ops::Range<usize>) -> Dataset {
    let (record, arrays) = scan(nodule_at);
    written(folder, &record, &arrays)
}

fn written(folder: &std::path::Path, record: &ScanRecord, arrays: &ScanArrays) -> Dataset {
    let info =
        DatasetInfo { format: 1, dasl_version: "0".into(), spacing_mm: 1.0, rule: "pylidc".into() };
    let writer = DatasetWriter::create_or_open(folder, &info).unwrap();
    writer.write_scan(record, arrays).unwrap();
    writer.finish().unwrap();
    Dataset::open(folder).unwrap()
}

fn scan(nodule_at: std::ops::Range<usize>) -> (ScanRecord, ScanArrays) {
    let geometry = Geometry::axial(SHAPE, [1.0; 3], PointMm::new(0.0, 0.0, 0.0));
    let nodule = NoduleRecord {
        label: 1,
        readers: 4,
        center_mm: PointMm::new(47.5, 47.5, 47.5),
        diameter_mm: 9.9,
        volume_mm3: 512.0,
        native_voxels: 512,
        box_start: [nodule_at.start; 3],
        box_shape: [nodule_at.len(); 3],
        malignancy: Vec::new(),
        texture: Vec::new(),
    };
    let record = ScanRecord {
        scan_id: "S".into(),
        patient_id: "P".into(),
        series_uid: String::new(),
        geometry,
        native_geometry: geometry,
        lung_sure: true,
        whole: true,
        annotated: true,
        nodules: vec![nodule],
        ignored: Vec::new(),
        candidates: Vec::new(),
        notes: Vec::new(),
        source: Vec::new(),
        series_files: 0,
        composed: None,
    };
    let (first, size) = sample_box(&record, 1, config().patch);
    let inside = |at: usize, axis: usize| {
        (first[axis]..first[axis] + size[axis] as i64).contains(&(at as i64))
    };
    let ct = Array3::from_shape_fn(SHAPE, |(z, y, x)| {
        if inside(z, 0) && inside(y, 1) && inside(x, 2) { -800 } else { 500 }
    });
    let mut labels = Array3::zeros(SHAPE);
    labels.slice_mut(s![nodule_at.clone(), nodule_at.clone(), nodule_at]).fill(1_u16);
    let lung = Array3::ones(SHAPE);
    (record, ScanArrays { ct, native_labels: labels.clone(), labels, lung })
}

/// Of patches that show a place of a kind: the edge of what is ignored there, if anything is.
fn ignored_at(kind: &str) -> Vec<Option<f64>> {
    // A bright cube of 6 voxels beside the nodule, where readers disagree.
    let (mut record, mut arrays) = scan(NODULE);
    let place = Geometry::axial([6; 3], [1.0; 3], PointMm::new(54.0, 45.0, 45.0));
    arrays.ct.fill(-800);
    arrays.ct.slice_mut(s![45..51, 45..51, 54..60]).fill(1000);
    record.ignored.push(IgnoredRecord {
        kind: kind.into(),
        center_mm: place.to_mm(dasl_volume::VoxelPos::new(2.5, 2.5, 2.5)),
        diameter_mm: 6.0,
    });
    let folder = tempfile::tempdir().unwrap();
    let dataset = written(folder.path(), &record, &arrays);
    let sample = TrainingSample { scan: "S".into(), label: 1, weight: 1.0, known: Known::Dataset };
    let background = vec!["S".into()];
    let set = TrainingSet { samples: vec![sample], background, annotated_share: 0.0 };
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let mut edges = Vec::new();
    for coarse_share in [0.0, 1.0] {
        let config = TrainConfig { coarse_share, positive_share: 0.5, ..config() };
        for _ in 0..60 {
            let patch = draw(&dataset, &set, &config, &mut rng).unwrap();
            let bright = patch.image.indexed_iter().filter(|(_, value)| **value > 0.2);
            let (mut sum, mut count) = ([0.0; 3], 0.0);
            for ((z, y, x), _) in bright {
                [z, y, x].iter().zip(&mut sum).for_each(|(at, sum)| *sum += *at as f64);
                count += 1.0;
            }
            let middle = sum.map(|sum| sum / count);
            let inside = middle.iter().all(|at| (5.0..26.0).contains(at));
            if count == 0.0 || !inside {
                continue;
            }
            let near = patch.ignored.iter().find(|cube| {
                cube.center.iter().zip(middle).all(|(center, at)| (center - at).abs() < 1.0)
            });
            edges.push(near.map(|cube| cube.edge));
        }
    }
    assert!(edges.len() > 30, "{}", edges.len());
    edges
}

#[test]
fn a_place_that_does_not_count_is_neither_nodule_nor_background() {
    let edges = ignored_at("few-readers").into_iter();
    let mut edges: Vec<f64> = edges.map(|edge| edge.expect("ignored where it is seen")).collect();
    edges.sort_by(f64::total_cmp);
    // 6 voxels, scaled by 0.75 to 1.25, and a half and a quarter of that.
    assert!(edges[0] < 2.0 && edges[edges.len() - 1] > 6.0, "{edges:?}");
    // What a reader calls no nodule is none.
    assert!(ignored_at("non-nodule").iter().all(Option::is_none));
}

fn patches(known: Known, background: bool) -> Vec<Patch> {
    patches_of(known, background, NODULE, &config())
}

fn patches_of(
    known: Known,
    background: bool,
    nodule: std::ops::Range<usize>,
    config: &TrainConfig,
) -> Vec<Patch> {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset_with(folder.path(), nodule);
    let sample = TrainingSample { scan: "S".into(), label: 1, weight: 1.0, known };
    let background = if background { vec!["S".into()] } else { Vec::new() };
    let set = TrainingSet { samples: vec![sample], background, annotated_share: 0.0 };
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    (0..40).map(|_| draw(&dataset, &set, config, &mut rng).unwrap()).collect()
}

#[test]
fn on_coarser_grids_a_nodule_is_smaller_and_a_small_one_neither_nodule_nor_background() {
    let coarse = TrainConfig { coarse_share: 1.0, ..config() };
    // 24 voxels, scaled by 0.75 to 1.25, are 12 or 6 on the coarser grids.
    let of = |known, config: &TrainConfig| patches_of(known, false, 36..60, config);
    let edges = |patches: &[Patch]| {
        let all = patches.iter().flat_map(|patch| &patch.targets).map(|t| t.cube.edge);
        all.fold((f64::MAX, 0.0_f64), |(low, high), edge| (low.min(edge), high.max(edge)))
    };
    let (low, high) = edges(&of(Known::Dataset, &coarse));
    assert!((5.0..=7.0).contains(&low) && (10.0..=16.0).contains(&high), "{low} {high}");
    assert!(edges(&of(Known::Dataset, &config())).0 > 16.0);
    // One of 8 voxels is trained on as it is,
    let small = patches_of(Known::Dataset, false, NODULE, &coarse);
    assert!(edges(&small).0 > 5.0 && small.iter().all(|patch| patch.ignored.is_empty()));
    // and where a coarser patch happens to hold it, it is not background.
    let around = patches_of(
        Known::Dataset,
        true,
        NODULE,
        &TrainConfig { positive_share: 0.0, ..coarse.clone() },
    );
    assert!(edges(&around).0 >= 5.0);
    assert!(around.iter().any(|patch| patch.ignored.iter().any(|cube| cube.edge < 5.0)));
    // A reader's answer of this run is known in its box alone.
    assert!(of(given(), &coarse).iter().all(|p| p.image.iter().all(|&v| v < 0.0)));
}

/// Two nodules, neither of which the dataset has.
fn given() -> Known {
    let mut mask = Array3::zeros((6, 12, 6));
    mask.slice_mut(s![.., ..5, ..]).fill(1_u16);
    mask.slice_mut(s![.., 7.., ..]).fill(2);
    Known::Given(PlacedMask { start: [45, 42, 45], mask })
}

#[test]
fn the_answer_is_trained_on() {
    let (mut both, mut voxels) = (0, 0.0);
    for patch in patches(given(), false) {
        both += usize::from(patch.targets.len() == 2);
        assert!(patch.targets.len() <= 2);
        assert!(patch.image.iter().all(|&v| v < 0.0), "it leaves the box that was answered for");
        voxels += patch.targets.iter().map(|t| f64::from(t.mask.sum())).sum::<f64>();
    }
    // Each of 6 x 5 x 6 voxels, scaled by 0.75 to 1.25.
    assert!(both > 20, "{both} patches hold both nodules");
    assert!((100.0..300.0).contains(&(voxels / (2.0 * both as f64))), "{voxels}");
    let truth = patches(Known::Dataset, false);
    assert!(truth.iter().all(|p| p.targets.len() <= 1));
}

#[test]
fn no_nodule_is_background() {
    for patch in patches(Known::NoNodule, false) {
        assert!(patch.targets.is_empty() && patch.ignored.is_empty());
        assert!(patch.image.iter().all(|&v| v < 0.0));
    }
}

#[test]
fn background_of_the_same_scan_knows_the_answer_and_not_the_hidden_label() {
    let most = |known| patches(known, true).iter().map(|p| p.targets.len()).max().unwrap();
    assert_eq!(most(Known::NoNodule), 0);
    assert_eq!(most(given()), 2);
}

/// A pseudo-label of as many voxels as the dataset's nodule, longest along one axis.
fn pseudo(longest: usize, weight: f64) -> TrainingSample {
    let mut shape = [8; 3];
    shape[longest] = 16;
    shape[(longest + 1) % 3] = 4;
    let start = shape.map(|edge| 48 - edge as i64 / 2);
    let known = Known::Pseudo(PlacedMask { start, mask: Array3::ones(shape) });
    TrainingSample { scan: "S".into(), label: 1, weight, known }
}

#[test]
fn beside_a_pseudo_label_an_annotated_nodule_is_no_background() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let place = |start, shape| PlacedMask { start, mask: Array3::ones(shape) };
    let beside = Known::Given(place([45, 56, 45], [6, 4, 6]));
    // It has no place of its own and no weight: never drawn itself.
    let beside = TrainingSample { scan: "S".into(), label: 9, weight: 0.0, known: beside };
    let targets = |known, positive_share| -> Vec<usize> {
        let sample = TrainingSample { scan: "S".into(), label: 1, weight: 1.0, known };
        let samples = vec![sample, beside.clone()];
        let set = TrainingSet { samples, background: Vec::new(), annotated_share: 0.0 };
        let config = TrainConfig { positive_share, ..config() };
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut patch = || draw(&dataset, &set, &config, &mut rng).unwrap().targets.len();
        (0..40).map(|_| patch()).collect()
    };
    let pseudo = targets(Known::Pseudo(place([44; 3], [8; 3])), 1.0);
    assert!(pseudo.iter().filter(|targets| **targets == 2).count() > 20, "{pseudo:?}");
    let none = targets(Known::NoNodule, 0.0);
    assert!(none.iter().filter(|targets| **targets == 1).count() > 20, "{none:?}");
}

/// Of how many of `count` patches the nodule is longest along z, y, x; the others' is a cube.
fn longest(annotated_share: f64, count: usize) -> [usize; 3] {
    let folder = tempfile::tempdir().unwrap();
    dataset(folder.path());
    // The annotated one is another scan's.
    let (mut record, arrays) = scan(NODULE);
    record.scan_id = "T".into();
    let dataset = written(folder.path(), &record, &arrays);
    let annotated =
        TrainingSample { scan: "T".into(), label: 1, weight: 1.0, known: Known::Dataset };
    let samples = vec![pseudo(0, 0.25), annotated, pseudo(1, 0.75)];
    let set = TrainingSet { samples, background: Vec::new(), annotated_share };
    let config = TrainConfig { mask_crop: 32, ..config() };
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut found = [0; 3];
    for _ in 0..count {
        let patch = draw(&dataset, &set, &config, &mut rng).unwrap();
        let mask = &patch.targets[0].mask;
        let extent = |axis| {
            let set = mask.axis_iter(ndarray::Axis(axis)).filter(|slice| slice.sum() > 0.0);
            set.count()
        };
        let extents = [extent(0), extent(1), extent(2)];
        // 16 against 8 and 4, whatever the scale.
        if let Some(axis) = (0..3).find(|&a| (0..3).all(|b| a == b || extents[a] > extents[b] + 3))
        {
            found[axis] += 1;
        }
    }
    found
}

#[test]
fn samples_are_drawn_in_proportion_to_their_weights() {
    let close = |got: usize, want: f64| assert!((got as f64 - want).abs() < 40.0, "{got}, {want}");
    // Of 600 by Eq. (4): 1 to 0.25 to 0.75.
    let [z, y, x] = longest(0.0, 600);
    close(z, 75.0);
    close(y, 225.0);
    assert_eq!(x, 0);
    // At least four fifths annotated; the others as before, 1 to 3.
    let [z, y, _] = longest(0.8, 600);
    close(z, 30.0);
    close(y, 90.0);
}

#[test]
fn a_network_whose_boxes_all_lie_elsewhere_finds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let config = Config { train: config(), ..Config::preset(Preset::Tiny) };
    let device = Device::flex();
    let mut named = weights::export(&NoduleRcnn::new(&config.net, 3, &device));
    // Per anchor a score, three offsets and a size.
    for output in named.get_mut("detection.output.bias").unwrap().values.chunks_exact_mut(5) {
        output[1..4].fill(1e3);
    }
    let segmenter = Segmenter::from_named(&named, config, &device).unwrap();
    let found = predict_sample(&segmenter, &dataset, "S", 1).unwrap();
    assert!(found.proposal.score.abs() < 1e-12);
    assert!(found.proposal.cube.center.iter().all(|at| (at - 47.5).abs() < 1.0));
}

#[test]
fn a_given_box_is_all_that_is_outlined_and_outlined_whole() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let config = Config { train: config(), ..Config::preset(Preset::Tiny) };
    let device = Device::flex();
    let model = NoduleRcnn::new(&config.net, 3, &device);
    let segmenter = Segmenter::new(model, config, &device);
    let own = dataset.scan("S").unwrap().nodules.remove(0);
    // The second is longer than a training patch.
    let long = NoduleRecord { box_start: [28, 44, 44], box_shape: [40, 8, 8], ..own.clone() };
    for nodule in [own, long] {
        let outlined = predict_box(&segmenter, &dataset, "S", &nodule).unwrap();
        assert_eq!(outlined.start, nodule.box_start.map(|first| first as i64));
        assert_eq!(outlined.probability.shape(), nodule.box_shape);
        assert!(
            outlined.probability.iter().all(|p| *p > 0.0),
            "the network has its say everywhere"
        );
    }
}
