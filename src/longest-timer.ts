/** The longest time that a timer takes, in milliseconds (24.8 days): a longer one overflows and ends after 1 ms. */
export const longestTimerMs = 2_147_483_647;
