/**
 * The header: where one can go, the theme, who one is.
 *
 * @module
 */

import { logout, session } from "./access/session.ts";
import { hrefOf, route } from "./router.ts";
import { ShortcutsButton } from "./shortcuts.tsx";
import { chooseTheme, theme, THEMES } from "./theme.ts";

interface HeaderProps {
  readonly views: Readonly<Record<string, { readonly title: string }>>;
}

export function Header({ views }: HeaderProps) {
  return (
    <header class="header">
      <div class="header-inner">
        <a class="brand" href="#/">
          <img src="/console/mark.svg" width="24" height="24" alt="" />
          Plimsoll
        </a>
        <nav class="views" aria-label="Views">
          <ul class="nav">
            {Object.entries(views).map(([name, { title }]) => (
              <li key={name}>
                <a
                  href={hrefOf(name)}
                  aria-current={route.value.view === name ? "page" : undefined}
                >
                  {title}
                </a>
              </li>
            ))}
          </ul>
        </nav>
        <ShortcutsButton />
        <ThemeButton />
        <Caller />
      </div>
    </header>
  );
}

const THEME_SIGNS = { auto: "◐", light: "☀", dark: "☾" };

function ThemeButton() {
  const next = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length] ?? "auto";
  return (
    <button
      type="button"
      class="button button-small"
      aria-label={`Theme: ${theme.value}. Change to ${next}`}
      onClick={() => chooseTheme(next)}
    >
      <span aria-hidden="true">{THEME_SIGNS[theme.value]}</span>
    </button>
  );
}

function Caller() {
  const known = session.value;
  if (known === null || !known.auth || known.caller === null) return null;
  return (
    <button type="button" class="button button-small" onClick={() => void logout()}>
      Log out {known.caller.id}
    </button>
  );
}
