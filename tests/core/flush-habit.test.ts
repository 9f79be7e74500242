import t from 'tap'
import { FlushHabit } from '../../lib/core/flush-habit.js'

const write = (habit: FlushHabit, records: number): number => Array.from({ length: records }, () => habit.record()).filter(Boolean).length

t.test('a guest that flushes after every few records gets them durable from its second flush on', async (t) => {
  const habit = new FlushHabit(4)
  t.equal(write(habit, 2), 0, 'nothing is known yet')
  habit.flushed()
  t.equal(write(habit, 2), 0, 'what came before the first flush says nothing')
  habit.flushed()
  t.equal(write(habit, 2), 2)
  habit.flushed()
  t.equal(write(habit, 4), 4)
  habit.flushed()
  t.equal(write(habit, 9), 4, 'a long run after it pays for a few records only')
})

t.test('a guest that writes much between two flushes pays nothing', async (t) => {
  const habit = new FlushHabit(4)
  for (let i = 0; i < 3; i++) {
    t.equal(write(habit, 100), 0)
    habit.flushed()
  }
})

t.test('flushes without writes between them are a habit that costs nothing', async (t) => {
  const habit = new FlushHabit(4)
  for (let i = 0; i < 3; i++) habit.flushed()
  t.equal(write(habit, 10), 4)
})
