// Texts that narrow a list down: an input for each name, sent together.
import { Button } from "../ui/basics.jsx";

export function FilterBar({ label, names, values, change, submit }) {
  return (
    <form class="bar" onSubmit={submit} aria-label={label}>
      {names.map((name) => (
        <input
          key={name}
          name={name}
          aria-label={name}
          spellcheck={false}
          value={values[name]}
          placeholder={name === "since" ? "since: 2h" : name}
          onInput={({ target }) => change({ ...values, [name]: target.value })}
        />
      ))}
      <Button type="submit">Filter</Button>
    </form>
  );
}
