//! A disk of which each write is recorded, and what a power cut leaves on it.
//!
//! qemu's driver `blklogwrites` records, in the format of the kernel's dm-log-writes: a sector with the number of
//! entries, then entries of one sector each with the data behind it.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::host;
use crate::machine::SCRATCH;

const SECTOR: usize = 512;
const SIZE: u64 = 24 << 20;
const IS_FLUSH: u64 = 1;
const IS_DISCARD: u64 = 4;

/// A disk with an empty ext4, and the record of what is written to it. Both are gone when this is dropped.
pub struct Recorded {
    dir: PathBuf,
    /// The disk before the first write.
    empty: Vec<u8>,
}

/// An entry of the record.
#[derive(Debug)]
struct Entry {
    at: usize,
    /// Where its data is in the record; empty for a flush.
    data: Range<usize>,
    is_flush: bool,
}

/// What was written to a disk, in order.
pub struct Record {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

impl Recorded {
    #[expect(clippy::new_without_default, reason = "it makes a file system")]
    pub fn new() -> Self {
        let dir = Path::new(SCRATCH).join(format!("recorded-{}", std::process::id()));
        let disk = dir.join("disk");
        let made = fs::create_dir_all(&dir).and_then(|()| fs::File::create(&disk)).and_then(|file| file.set_len(SIZE));
        made.unwrap_or_else(|error| panic!("{}: {error}", disk.display()));
        let options = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
        host(Command::new("mkfs.ext4").args(["-q", "-J", "size=4", "-E", options]).arg(&disk)).expect("mkfs.ext4");
        let empty = fs::read(&disk).expect("the disk");
        Self { dir, empty }
    }

    /// qemu's arguments for it. By its address it is the last disk.
    pub(crate) fn arguments(&self) -> [String; 4] {
        let file = |key: &str, name: &str| {
            let path = self.dir.join(name);
            fs::OpenOptions::new().create(true).append(true).open(&path).expect("a file of a recorded disk");
            format!("{key}.driver=file,{key}.filename={}", path.display())
        };
        let blocks =
            format!("driver=blklogwrites,node-name=recorded,{},{}", file("file", "disk"), file("log", "record"));
        ["-blockdev".into(), blocks, "-device".into(), "virtio-blk-pci,drive=recorded,addr=0x1e".into()]
    }

    /// A directory for copies of what is on it.
    pub fn scratch(&self) -> PathBuf {
        self.dir.join("copies")
    }

    /// The length of the record: all that is written by now is before it.
    pub fn length(&self) -> u64 {
        fs::metadata(self.dir.join("record")).expect("a record").len()
    }

    /// Reads the record up to a length.
    pub fn record(&self, length: u64) -> Record {
        let mut bytes = fs::read(self.dir.join("record")).expect("a record");
        bytes.truncate(usize::try_from(length).expect("less than the memory"));
        Record::parse(bytes)
    }

    /// Writes what is on the disk after some of the writes, replays its journal as the next boot would, and copies what
    /// is then in it to `to`. Panics if the file system is not in order.
    pub fn restore(&self, record: &Record, writes: impl Iterator<Item = usize>, to: &Path) {
        let mut disk = self.empty.clone();
        for Entry { at, data, .. } in writes.map(|index| &record.entries[index]) {
            disk[*at..*at + data.len()].copy_from_slice(&record.bytes[data.clone()]);
        }
        let image = self.dir.join("image");
        fs::write(&image, &disk).and_then(|()| fs::create_dir_all(to)).expect("a copy of the disk");
        let check = Command::new("e2fsck").args(["-f", "-p"]).arg(&image).output().expect("e2fsck");
        assert!(check.status.code().is_some_and(|code| code <= 1), "{}", String::from_utf8_lossy(&check.stdout));
        let copy = format!("rdump / {}", to.display());
        let copied = Command::new("debugfs").args(["-R", &copy]).arg(&image).output().expect("debugfs");
        let lost = fs::remove_dir(to.join("lost+found"));
        assert!(lost.is_ok(), "debugfs: {}", String::from_utf8_lossy(&copied.stderr));
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Record {
    fn parse(bytes: Vec<u8>) -> Self {
        let mut entries = Vec::new();
        let mut start = SECTOR;
        while let Some(header) = bytes.get(start..start + 4 * 8) {
            let [sector, sectors, flags, _] =
                [0, 1, 2, 3].map(|word| u64::from_le_bytes(header[8 * word..][..8].try_into().expect("eight bytes")));
            let has_data = flags & (IS_FLUSH | IS_DISCARD) == 0;
            let length = if has_data { usize::try_from(sectors).expect("a disk that is small") * SECTOR } else { 0 };
            let data = start + SECTOR..start + SECTOR + length;
            if data.end > bytes.len() {
                break;
            }
            let at = usize::try_from(sector).expect("a disk that is small") * SECTOR;
            start = data.end;
            entries.push(Entry { at, data, is_flush: flags & IS_FLUSH != 0 });
        }
        Self { bytes, entries }
    }

    /// The number of entries in the record's first `length` bytes.
    pub fn count(&self, length: u64) -> usize {
        self.entries.partition_point(|entry| entry.data.end as u64 <= length)
    }

    /// The entries from one to another after which the disk has other content than before.
    pub fn writes(&self, range: Range<usize>) -> Vec<usize> {
        range.filter(|index| !self.entries[*index].data.is_empty()).map(|index| index + 1).collect()
    }

    /// Of the first `count` entries, those that are on the disk when its cache loses every second write since the last
    /// flush, by `seed`.
    pub fn losing(&self, count: usize, seed: usize) -> impl Iterator<Item = usize> {
        let flushed = self.entries[..count].iter().rposition(|entry| entry.is_flush).map_or(0, |index| index + 1);
        (0..count).filter(move |index| *index < flushed || is_even(index.wrapping_mul(0x9e37_79b9).wrapping_add(seed)))
    }
}

/// Whether a number has an even number of bits: about every second one, without a pattern.
fn is_even(number: usize) -> bool {
    number.count_ones().is_multiple_of(2)
}
