//! The descriptors of a pool between the two passes of Eq. (3): in memory, and what is beyond a limit
//! in a scratch file that vanishes with the process.
//!
//! Only a descriptor's direction matters to a cosine, so it is stored in 16 bits a number, scaled so
//! that its largest number is the largest there is. A cosine is off by less than 1e-5 by that: the
//! rounding of a number is at most 1.5e-5 of the largest, and falls on either side.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use pulp::Arch;
use rayon::prelude::*;

use crate::density::{UnitSum, dot, norm};

/// Bytes that are added up, written to or read from the scratch file at once.
const BLOCK_BYTES: usize = 4 << 20;

/// Bytes of a stored number.
const NUMBER_BYTES: usize = size_of::<i16>();

/// Vectors of one length, stored by place in the pool.
pub struct Descriptors {
    length: usize,
    count: usize,
    store: Store,
    /// First pass over the vectors that came in the order of their places, and how many they are.
    sum: UnitSum,
    summed: usize,
    /// Those that came next and are yet to be added up and stored, a block at once.
    waiting: Vec<i16>,
    /// Length of each vector as it is stored.
    norms: Vec<f64>,
}

/// Numbers, of which the first are in memory.
struct Store {
    memory: Vec<i16>,
    /// The rest, as the processor has them: no other process reads it.
    file: Option<File>,
}

impl Store {
    /// Stores numbers from the number `at` on; they lie all in memory or all in the file.
    fn write(&mut self, at: usize, numbers: &[i16]) -> io::Result<()> {
        if let Some(mut file) = self.file_at(at)? {
            return file.write_all(bytemuck::cast_slice(numbers));
        }
        self.memory[at..][..numbers.len()].copy_from_slice(numbers);
        Ok(())
    }

    /// Reads numbers from the number `at` on.
    fn read(&self, at: usize, numbers: &mut [i16]) -> io::Result<()> {
        if let Some(mut file) = self.file_at(at)? {
            return file.read_exact(bytemuck::cast_slice_mut(numbers));
        }
        numbers.copy_from_slice(&self.memory[at..][..numbers.len()]);
        Ok(())
    }

    /// The file with its cursor at the number `at`, if that is there.
    fn file_at(&self, at: usize) -> io::Result<Option<&File>> {
        let (Some(mut file), Some(beyond)) =
            (self.file.as_ref(), at.checked_sub(self.memory.len()))
        else {
            return Ok(None);
        };
        file.seek(SeekFrom::Start((NUMBER_BYTES * beyond) as u64))?;
        Ok(Some(file))
    }
}

impl Descriptors {
    /// Room for `count` vectors of `length` numbers; what takes more than `memory_bytes` is in a file
    /// in `scratch_folder`.
    ///
    /// # Errors
    /// If the scratch file can't be made.
    pub fn new(
        count: usize,
        length: usize,
        memory_bytes: u64,
        scratch_folder: &Path,
    ) -> io::Result<Self> {
        let vector_bytes = (NUMBER_BYTES * length.max(1)) as u64;
        let in_memory = usize::try_from(memory_bytes / vector_bytes).unwrap_or(usize::MAX);
        let mut file = None;
        // Whole blocks in memory, so that none is partly in the file.
        let in_memory = if in_memory < count {
            let in_memory = in_memory / at_once(length) * at_once(length);
            let scratch = tempfile::tempfile_in(scratch_folder)?;
            scratch.set_len((count - in_memory) as u64 * vector_bytes)?;
            file = Some(scratch);
            in_memory
        } else {
            count
        };
        let store = Store { memory: vec![0; in_memory * length], file };
        let (sum, waiting, norms) = (UnitSum::new(), Vec::new(), vec![0.0; count]);
        Ok(Self { length, count, store, sum, summed: 0, waiting, norms })
    }

    /// Numbers in each vector.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Stores the vector of place `index`, once; it must have the right length.
    ///
    /// # Errors
    /// If the scratch file can't be written, as on a full disk; perhaps only of a later vector.
    pub fn put(&mut self, index: usize, vector: &[f32]) -> io::Result<()> {
        if self.length == 0 {
            self.sum.add(vector);
            self.summed += 1;
            return Ok(());
        }
        if index != self.summed + self.waiting.len() / self.length {
            let mut alone = Vec::new();
            self.norms[index] = store(vector, &mut alone);
            return self.store.write(index * self.length, &alone);
        }
        self.norms[index] = store(vector, &mut self.waiting);
        // Blocks begin at multiples of their length, whatever came out of order before.
        let block = at_once(self.length) - self.summed % at_once(self.length);
        if self.waiting.len() >= block * self.length { self.take_in() } else { Ok(()) }
    }

    /// Adds up and stores what waits.
    fn take_in(&mut self) -> io::Result<()> {
        let Self { length, store, sum, summed, waiting, norms, .. } = self;
        if waiting.is_empty() {
            return Ok(());
        }
        let (from, at) = (*summed, *summed * *length);
        *summed += waiting.len() / *length;
        let norms = &norms[from..*summed];
        let (written, ()) =
            rayon::join(|| store.write(at, waiting), || sum.add_all(waiting, norms, *length));
        waiting.clear();
        written
    }

    /// Density of every vector, by place: both passes (the first is done already for vectors that
    /// came in order), each in the order of the places, so that the last bits depend neither on the
    /// order in which the vectors came nor on the number of threads.
    ///
    /// # Errors
    /// If the scratch file can't be read.
    pub fn densities(&mut self) -> io::Result<Vec<f64>> {
        self.take_in()?;
        let length = self.length;
        let mut sum = std::mem::take(&mut self.sum);
        self.for_each_block(self.summed, |block, norms| sum.add_all(block, norms, length))?;
        let mut densities = Vec::with_capacity(self.count);
        self.for_each_block(0, |block, norms| {
            let vectors = block.par_chunks(length.max(1)).zip(norms);
            densities.par_extend(vectors.map(|(vector, norm)| sum.density_of(vector, *norm)));
        })?;
        (self.sum, self.summed) = (sum, self.count);
        Ok(densities)
    }

    /// Cosine similarity of the vectors of some places to all: `[place][vector]`. That of a zero
    /// vector with anything is 0.
    ///
    /// # Errors
    /// If the scratch file can't be read.
    pub fn cosines(&mut self, places: &[usize]) -> io::Result<Vec<Vec<f64>>> {
        self.take_in()?;
        let from: Vec<Vec<i16>> =
            places.iter().map(|&place| self.get(place)).collect::<io::Result<_>>()?;
        let mut cosines = vec![Vec::with_capacity(self.count); places.len()];
        let length = self.length.max(1);
        self.for_each_block(0, |block, norms| {
            let all = cosines.par_iter_mut().zip(&from).zip(places);
            all.for_each(|((cosines, from), place)| {
                cosines.extend(block.chunks(length).zip(norms).map(|(vector, norm)| {
                    let norms = self.norms[*place] * norm;
                    if norms > 0.0 { (dot(from, vector) / norms).clamp(-1.0, 1.0) } else { 0.0 }
                }));
            });
        })?;
        Ok(cosines)
    }

    fn get(&self, index: usize) -> io::Result<Vec<i16>> {
        let mut vector = vec![0; self.length];
        self.store.read(index * self.length, &mut vector)?;
        Ok(vector)
    }

    /// Whole vectors one after the other from a place on with their lengths, as many at once as a
    /// block holds; of the file the next block is read meanwhile.
    fn for_each_block(
        &self,
        from: usize,
        mut visit: impl FnMut(&[i16], &[f64]) + Send,
    ) -> io::Result<()> {
        let block = at_once(self.length) * self.length.max(1);
        let (mut at, end) = (from * self.length, self.count * self.length);
        let mut norms = &self.norms[from..];
        let mut visit = |block: &[i16]| {
            let (own, rest) = norms.split_at(block.len() / self.length);
            norms = rest;
            visit(block, own);
        };
        let memory = &self.store.memory;
        if at < memory.len() {
            memory[at..].chunks(block).for_each(&mut visit);
            at = memory.len();
        }
        let (mut here, mut next) = (vec![0; block], vec![0; block]);
        let mut size = block.min(end - at);
        self.store.read(at, &mut here[..size])?;
        while size > 0 {
            at += size;
            let following = block.min(end - at);
            let (done, ()) = rayon::join(
                || self.store.read(at, &mut next[..following]),
                || visit(&here[..size]),
            );
            done?;
            std::mem::swap(&mut here, &mut next);
            size = following;
        }
        Ok(())
    }
}

/// Vectors in a block.
fn at_once(length: usize) -> usize {
    (BLOCK_BYTES / (NUMBER_BYTES * length.max(1))).max(1)
}

/// A number added to this is rounded to a whole one, which its lowest bits then are (two's
/// complement), for numbers of up to 2^22.
const TO_WHOLE: f32 = 1.5 * (1 << 23) as f32;

/// Appends a vector as it is stored, and returns the length of that. A vector without a number above
/// 1e-34 is a zero vector.
fn store(vector: &[f32], to: &mut Vec<i16>) -> f64 {
    let first = to.len();
    to.resize(first + vector.len(), 0);
    let stored = &mut to[first..];
    Arch::new().dispatch(|| {
        // As whole numbers the bits of floats without their sign are in the floats' order.
        let largest = vector.iter().fold(0, |most, x| most.max(x.to_bits() & (u32::MAX >> 1)));
        let scale = f32::from(i16::MAX) / f32::from_bits(largest);
        if scale.is_finite() {
            for (stored, &x) in stored.iter_mut().zip(vector) {
                *stored = (x * scale + TO_WHOLE).to_bits() as i16;
            }
        }
    });
    norm(stored)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn memory_and_file_in_any_order_give_the_same_bits() {
        let folder = tempfile::tempdir().expect("a folder");
        let vectors: Vec<Vec<f32>> =
            (0..7_u8).map(|i| (0..5_u8).map(|j| f32::from(i * j + 1).sin()).collect()).collect();
        let densities = |memory_bytes, order: &[usize]| {
            let mut store = Descriptors::new(7, 5, memory_bytes, folder.path()).expect("room");
            assert_eq!(store.store.file.is_some(), memory_bytes < 70);
            for &i in order {
                store.put(i, &vectors[i]).expect("stored");
            }
            store.densities().expect("densities")
        };
        let in_memory = densities(70, &[0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(densities(69, &[6, 3, 0, 1, 5, 4, 2]), in_memory);
        assert_eq!(densities(1000, &[3, 6, 5, 4, 2, 1, 0]), in_memory);
        assert_eq!(densities(0, &[0, 1, 2, 5, 3, 6, 4]), in_memory);
        let mut sum = UnitSum::new();
        for v in &vectors {
            sum.add(v);
        }
        assert!((in_memory[4] - sum.density(&vectors[4])).abs() < 1e-5);
    }

    fn made_up(count: usize, length: usize) -> Vec<Vec<f32>> {
        let number = |i: usize, j: usize| ((i * 7919 + j * 104_729) % 1009) as f32 / 1009.0;
        (0..count).map(|i| (0..length).map(|j| number(i, j)).collect()).collect()
    }

    fn kept(vectors: &[Vec<f32>], memory_bytes: u64) -> Descriptors {
        kept_in_order(vectors, memory_bytes, false)
    }

    fn kept_in_order(vectors: &[Vec<f32>], memory_bytes: u64, swapped: bool) -> Descriptors {
        let folder = tempfile::tempdir().expect("a folder");
        let (count, length) = (vectors.len(), vectors[0].len());
        let mut store = Descriptors::new(count, length, memory_bytes, folder.path()).expect("room");
        // Two that are exchanged: the rest is not added up as it comes, and no block begins with it.
        let order = (0..count).map(|i| if swapped && i < 2 { 1 - i } else { i });
        order.for_each(|i| store.put(i, &vectors[i]).expect("stored"));
        store
    }

    #[test]
    fn many_blocks_and_any_number_of_threads_give_the_same_bits() {
        // 300 vectors of 32 KiB: three blocks, of which none, one or all are in memory.
        let vectors = made_up(300, 1 << 14);
        let densities = |threads, memory_bytes| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
            pool.install(|| kept(&vectors, memory_bytes).densities().expect("densities"))
        };
        let one = densities(1, 0);
        assert_eq!(one.len(), 300);
        assert_eq!(densities(3, 0), one);
        assert_eq!(densities(2, 6 << 20), one);
        let swapped = kept_in_order(&vectors, 6 << 20, true).densities().expect("densities");
        assert_eq!(swapped, one);
        assert_eq!(densities(2, u64::MAX), one);
    }

    /// As `NumPy` does it on float32: unit vectors, their products, all in single precision.
    #[test]
    fn equals_the_definition_in_single_precision() {
        let vectors = made_up(40, 500);
        let unit = |v: &Vec<f32>| {
            let norm = v.iter().map(|x| x * x).sum::<f32>().sqrt();
            v.iter().map(|x| x / norm).collect::<Vec<f32>>()
        };
        let units: Vec<Vec<f32>> = vectors.iter().map(unit).collect();
        let found = kept(&vectors, 0).densities().expect("densities");
        for (unit, found) in units.iter().zip(found) {
            let cosine = |other: &Vec<f32>| unit.iter().zip(other).map(|(a, b)| a * b).sum::<f32>();
            let expected = (units.iter().map(cosine).sum::<f32>() - 1.0) / 39.0;
            assert!((f64::from(expected) - found).abs() < 1e-5, "{expected} {found}");
        }
    }

    proptest! {
        /// As short as the encoder's descriptors of the smallest preset, with zeros or without.
        #[test]
        fn equals_the_definition_but_for_the_rounding(
            vectors in proptest::collection::vec(
                proptest::collection::vec(
                    prop_oneof![Just(0.0_f32), -10.0_f32..10.0], 24..=24), 2..20),
        ) {
            let mut exact = UnitSum::new();
            for vector in &vectors {
                exact.add(vector);
            }
            let found = kept(&vectors, u64::MAX).densities().expect("densities");
            for (vector, found) in vectors.iter().zip(found) {
                prop_assert!((exact.density(vector) - found).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn a_vector_is_stored_by_its_direction() {
        let stored = |vector: &[f32]| {
            let mut stored = Vec::new();
            let norm = store(vector, &mut stored);
            (stored, norm)
        };
        let root = |squares: i64| (squares as f64).sqrt();
        let (half, one) = (16384_i64.pow(2), 32767_i64.pow(2));
        assert_eq!(stored(&[0.5, -1.0, 0.0]), (vec![16384, -32767, 0], root(half + one)));
        assert_eq!(stored(&[0.0, -0.0, 1e-36]), (vec![0; 3], 0.0));
        let huge = [f32::MAX, -f32::MAX / 2.0, 1.0];
        assert_eq!(stored(&huge), (vec![32767, -16384, 0], root(half + one)));
    }

    #[test]
    fn cosines_by_hand() {
        let vectors = [vec![2.0, 0.0], vec![3.0, 3.0], vec![-1.0, 0.0], vec![0.0, 0.0]];
        let half = 0.5_f64.sqrt();
        for memory_bytes in [0, u64::MAX] {
            let found = kept(&vectors, memory_bytes).cosines(&[0, 3]).expect("cosines");
            for (found, expected) in found[0].iter().zip([1.0, half, -1.0, 0.0]) {
                assert!((found - expected).abs() < 1e-15);
            }
            assert_eq!(found[1], [0.0; 4]);
        }
    }
}
