/** The daemon serves the package's own module under this name. */
import uPlot from 'uplot'
export default uPlot
