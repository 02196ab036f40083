// Runs only in browsers that know no modules, and so not the page.
document.getElementById("status").textContent = "This browser is too old for this page. Use a newer one.";
document.getElementById("status").className = "problem";
