/** Of the tests beside it alone. */
export default { test: { maxWorkers: 1 } };
