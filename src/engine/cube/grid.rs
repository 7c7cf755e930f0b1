use burn_cubecl::cubecl::calculate_cube_count_elemwise;
use burn_cubecl::cubecl::client::Client;
use burn_cubecl::cubecl::prelude::{CubeCount, CubeDim};

/// How the rows of a matrix are divided among units: `width` units share a row, and `rows` rows share a
/// cube.
///
/// Both are powers of two and depend on the device and the number of columns alone, because a kernel is
/// compiled for each pair, and another batch size must not compile a new one.
pub(super) struct Grid {
    pub width: usize,
    pub rows: usize,
    pub dim: CubeDim,
    pub count: CubeCount,
}

/// Units that share a cube, where the device allows so many.
const UNITS: u32 = 256;

/// Units that share a row at most: more units would wait for each other longer than they save.
const WIDTH: u32 = 64;

impl Grid {
    pub fn new(client: &Client, rows: usize, columns: usize) -> Self {
        let hardware = &client.properties().hardware;
        let units = hardware.max_units_per_cube.min(UNITS);
        // The units of a cube run one after the other on a processor.
        let widest = match hardware.num_cpu_cores {
            Some(_) => 1,
            None => WIDTH.min(units).min(hardware.max_cube_dim.0),
        };
        let columns = u32::try_from(columns).unwrap_or(u32::MAX);
        let width = power_of_two(widest.min(columns.checked_next_power_of_two().unwrap_or(widest)));
        let height = power_of_two((units / width).min(hardware.max_cube_dim.1));
        let dim = CubeDim::new_2d(width, height);
        Self {
            width: width as usize,
            rows: height as usize,
            dim,
            count: calculate_cube_count_elemwise(client, rows * width as usize, dim),
        }
    }
}

/// The largest power of two that is not above the number, or 1.
fn power_of_two(number: u32) -> u32 {
    1 << number.max(1).ilog2()
}
