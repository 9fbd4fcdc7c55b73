//! The order of lanes inside a warp. Since compute capability 7.0 each lane goes its own way: what one did is known to
//! another only after both met at `bar.warp.sync` or at a barrier; shuffles and votes order nothing. Before, a warp goes in
//! lockstep, and all that its lanes did earlier comes before what they do now. Knows no memory.

/// The first capability whose lanes go their own ways.
pub const INDEPENDENT_SINCE: (u32, u32) = (7, 0);

#[derive(Debug, Clone)]
struct Lanes {
    /// Meetings of lanes until now.
    time: u32,
    /// `seen[b][a]`: what lane a did before this time comes before what lane b does now.
    seen: [[u32; 32]; 32],
}

/// The lanes of all warps of a block; none where warps go in lockstep.
#[derive(Debug)]
pub struct WarpOrder {
    warps: Vec<Lanes>,
}

/// The lanes of a mask.
pub fn lanes(mask: u32) -> impl Iterator<Item = u32> {
    (0..32).filter(move |lane| mask >> lane & 1 != 0)
}

impl WarpOrder {
    pub fn new(warps: usize, is_independent: bool) -> Self {
        let lanes = Lanes {
            time: 0,
            seen: [[0; 32]; 32],
        };
        Self {
            warps: vec![lanes; if is_independent { warps } else { 0 }],
        }
    }

    /// When a lane of the warp does something now.
    pub fn time(&self, warp: u32) -> u32 {
        self.warps.get(warp as usize).map_or(0, |lanes| lanes.time)
    }

    /// These lanes met: each comes after whatever one of them comes after.
    pub fn meet(&mut self, warp: u32, mask: u32) {
        let Some(warp) = self.warps.get_mut(warp as usize) else {
            return;
        };
        warp.time += 1;
        let mut known = [0; 32];
        for lane in lanes(mask) {
            for (all, one) in known.iter_mut().zip(warp.seen[lane as usize]) {
                *all = one.max(*all);
            }
        }
        for lane in lanes(mask) {
            known[lane as usize] = warp.time;
        }
        for lane in lanes(mask) {
            warp.seen[lane as usize] = known;
        }
    }

    /// Whether what `lane` does now comes after what `earlier` did at `time`.
    pub fn is_after(&self, warp: u32, lane: u32, earlier: u32, time: u32) -> bool {
        let Some(warp) = self.warps.get(warp as usize) else {
            return true;
        };
        lane == earlier || warp.seen[lane as usize][earlier as usize] > time
    }
}
